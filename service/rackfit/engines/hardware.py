"""Which devices an engine runs on, and which of them hold a format of weights or cache.

A device whose generation is not known is taken as one that does.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.version import Version

BLACKWELL = frozenset({"blackwell"})
FROM_HOPPER = BLACKWELL | {"hopper"}
FROM_ADA = FROM_HOPPER | {"ada"}
FROM_AMPERE = FROM_ADA | {"ampere"}
FROM_TURING = FROM_AMPERE | {"turing"}
NVIDIA = FROM_TURING | {"volta"}
FP8_AMD = frozenset({"cdna3", "cdna4"})
AMD = FP8_AMD | {"cdna2", "rdna3", "rdna4"}
INTEL = frozenset({"gaudi2", "gaudi3", "battlemage"})


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """Generations an engine runs on, and those that hold a format, by the beginning of its name.

    Empty `generations` stand for any; a format that is not listed goes wherever the engine does.
    `later` are generations that hold a format of weights besides, from a version of the engine on.
    """

    source: str
    generations: frozenset[str] = frozenset()
    weights: Mapping[str, frozenset[str]] = {}
    caches: Mapping[str, frozenset[str]] = {}
    later: Mapping[str, tuple[Version, frozenset[str]]] = {}

    def at(self, version: Version) -> "Hardware":
        """This as it is in one version."""
        if not self.later:
            return self
        new = {name: held for name, (since, held) in self.later.items() if version >= since}
        held = {name: known | new.get(name, frozenset()) for name, known in self.weights.items()}
        return msgspec.structs.replace(self, weights=held, later={})

    def runs_on(self, generation: str) -> bool:
        """Tell whether the engine runs on a generation at all."""
        return not self.generations or not generation or generation in self.generations

    def rejections(
        self, engine: str, model: ServedModel, split: Split, accelerator: Accelerator
    ) -> Iterator[Rejection]:
        """Yield what of this model the engine cannot hold on such devices."""
        generation = accelerator.generation
        if not generation:
            return
        if not self.runs_on(generation):
            yield self._refused(split, f"{engine} does not run on {accelerator.id}.")
            return
        for scheme in model.used_schemes:
            if not _held(self.weights, scheme.id, generation):
                detail = f"{engine} cannot serve weights stored as {scheme.id} on {accelerator.id}."
                yield self._refused(split, detail)
        if not _held(self.caches, model.kv_cache_dtype, generation):
            yield cache_refused(engine, model, split, accelerator, self.source)

    def _refused(self, split: Split, detail: str) -> Rejection:
        return reject(split, "hardware-unsupported", detail, self.source)


def cache_refused(
    engine: str, model: ServedModel, split: Split, accelerator: Accelerator, source: str
) -> Rejection:
    """Refuse a KV cache of a type that the engine cannot keep on such devices."""
    detail = f"{engine} cannot keep a KV cache in {model.kv_cache_dtype} on {accelerator.id}."
    return reject(split, "hardware-unsupported", detail, source)


def _held(needs: Mapping[str, frozenset[str]], name: str, generation: str) -> bool:
    return all(generation in held for begins, held in needs.items() if name.startswith(begins))
