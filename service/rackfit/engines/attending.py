"""Attention that needs kernels of its own: which versions have it, and on which devices.

Two kinds read less than all rows: latent attention to the rows that an indexer chooses, and
DeepSeek-V4's to compressed rows. Their kernels are written for few generations at first.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import msgspec

from rackfit.architecture.model import Attention, CompressedAttention, LatentAttention
from rackfit.catalog.entries import Accelerator
from rackfit.engines.choice import EngineChoice
from rackfit.engines.loading import Loading
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import kernels
from rackfit.engines.version import Version, shown

Sparse = Literal["chosen", "compressed"]

WORDS: Mapping[Sparse, str] = {
    "chosen": "attention to latent rows that an indexer chooses (DeepSeek-V3.2, GLM-5)",
    "compressed": "attention to compressed rows (DeepSeek-V4)",
}

Steps = tuple[tuple[Version, frozenset[str]], ...]
"""Versions, oldest first, each with the kernels (`terms.kernels`) that came with it."""


class SparseKernels(msgspec.Struct, frozen=True, kw_only=True):
    """Whose kernels an engine has for each kind of sparse attention, and from which version."""

    source: str
    steps: Mapping[Sparse, Steps]

    def held(self, kind: Sparse, version: Version) -> frozenset[str]:
        """Generations a version has kernels for; none where it does not know the attention."""
        came = (held for since, held in self.steps[kind] if version >= since)
        return frozenset().union(*came)

    def first(self, kind: Sparse) -> Version:
        """The version that knows the attention first."""
        return self.steps[kind][0][0]

    def first_on(self, kind: Sparse, generation: str) -> Version | None:
        """The version that has kernels for a generation first; None where none has."""
        return next((since for since, held in self.steps[kind] if generation in held), None)


class Attending(Loading):
    """The part of an engine that says which attention it has, and for whose devices.

    `sparse_kernels` is None where there is no rule.
    """

    name: ClassVar[str]
    known: ClassVar[tuple[Version, Version]]
    choice: EngineChoice
    version: Version
    sparse_kernels: ClassVar[SparseKernels | None] = None

    def unloadable(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Attention besides that the version does not know yet."""
        yield from super().unloadable(model, split)
        if self.sparse_kernels is None:
            return
        for kind in sparse_kinds(model):
            first = self.sparse_kernels.first(kind)
            if self._judged(kind) < first:
                detail = (
                    f"{self.name} {shown(self.version)} does not know {WORDS[kind]}: "
                    f"{shown(first)} is the first that does."
                )
                yield reject(split, "model-unsupported", detail, self.sparse_kernels.source)

    def unattended(
        self, model: ServedModel, split: Split, accelerator: Accelerator
    ) -> Iterator[Rejection]:
        """Yield the attention that the version knows, but not on such devices."""
        generation = kernels(accelerator)
        if self.sparse_kernels is None or not generation:
            return
        for kind in sparse_kinds(model):
            version = self._judged(kind)
            held = self.attended(model, kind, version)
            if held and generation not in held:
                later = self.sparse_kernels.first_on(kind, generation)
                detail = (
                    f"{self.name} {shown(version)} has no kernels for {WORDS[kind]} on "
                    f"{accelerator.id}{f': {shown(later)} is the first that has' if later else ''}."
                )
                yield reject(split, "hardware-unsupported", detail, self.sparse_kernels.source)

    def attended(self, model: ServedModel, kind: Sparse, version: Version) -> frozenset[str]:
        """Generations a version has kernels for."""
        del model
        return self.sparse_kernels.held(kind, version) if self.sparse_kernels else frozenset()

    def _judged(self, kind: Sparse) -> Version:
        """The version that serves; where none is named, the newest if the usual is too old."""
        rule, unnamed = self.sparse_kernels, self.choice.version is None
        too_old = rule is not None and self.version < rule.first(kind)
        return self.known[1] if unnamed and too_old else self.version


def sparse_kinds(model: ServedModel) -> tuple[Sparse, ...]:
    """The kinds of sparse attention that a model has, each once."""
    kinds = (_sparse(layer.attention) for layer in model.kinds)
    return tuple(dict.fromkeys(kind for kind in kinds if kind))


def _sparse(attention: Attention | None) -> Sparse | None:
    match attention:
        case CompressedAttention():
            return "compressed"
        case LatentAttention(top_k=int()):
            return "chosen"
        case _:
            return None
