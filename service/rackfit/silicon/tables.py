"""Which plans the tables cover, and their times as those of a forward pass.

A model is covered where the package carries the very same one: of the same layers, each stored
alike. That is decided by reading its config as any caller's, never by its name.
"""

from collections.abc import Mapping
from math import ceil, inf

import msgspec

from rackfit.catalog import Catalog
from rackfit.catalog.entries import Accelerator
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.errors import InvalidInput, NotCovered
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve
from rackfit.performance.forward import Batch, Common
from rackfit.silicon import package
from rackfit.silicon.package import Compiled, Pairing

SYSTEMS: Mapping[str, str] = {
    "NVIDIA-A30": "a30",
    "NVIDIA-A100-80GB-PCIe": "a100_pcie",
    "NVIDIA-A100-SXM4-80GB": "a100_sxm",
    "NVIDIA-L4": "l4",
    "NVIDIA-L40S": "l40s",
    "NVIDIA-H100-PCIe": "h100_pcie",
    "NVIDIA-H100-80GB-HBM3": "h100_sxm",
    "NVIDIA-H200": "h200_sxm",
    "NVIDIA-B200": "b200_sxm",
    "NVIDIA-B300-SXM6-AC": "b300_sxm",
    "NVIDIA-GB200": "gb200",
    "NVIDIA-GB300": "gb300",
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": "rtx_pro_6000_server",
}
"""The package's systems (its `systems` folder), by the catalog's accelerators."""

CACHES: Mapping[str, str] = {"bf16": "bfloat16", "fp8": "fp8", "int8": "int8"}
"""The package's number types of the KV cache, by ours."""

_REMEMBERED = 64
"""Models whose name is remembered."""


class SiliconTables:
    """Times out of the package's tables for what it covers."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._names: list[tuple[ServedModel, str | None]] = []

    @property
    def source(self) -> str:
        """What the times rest on."""
        return f"kernels measured on the silicon ({package.NAME} {package.VERSION})"

    def forward(
        self, common: Common, split: Split, accelerator: Accelerator, context_tokens: int
    ) -> "TabledForward":
        """Return the passes of a split.

        Raises:
            NotCovered: the tables have nothing for it.
        """
        model, engine = common.model, common.engine
        system, cache = SYSTEMS.get(accelerator.id), CACHES.get(model.kv_cache_dtype)
        spread = engine.choice.redundant_experts or common.measured
        plain = split.context == split.decode_context == 1 and not spread
        name = self._name(model) if system and cache and plain else None
        if not (name and system and cache and engine.kernel_tables):
            raise NotCovered
        pairing = Pairing(
            model=name,
            system=system,
            engine=engine.kernel_tables,
            tensor=split.tensor,
            pipeline=split.pipeline,
            data=split.data,
            expert=split.expert,
            kv_cache=cache,
            drafted=engine.choice.speculative_tokens,
        )
        chunk = common.limits(accelerator, context_tokens).batched_tokens
        return TabledForward(common, split, package.compiled(pairing), chunk)

    def _name(self, model: ServedModel) -> str | None:
        """Return the package's name of a model, None where it does not carry it."""
        for known, name in self._names:
            if known is model:
                return name
        name = next((name for name in package.carried() if self._is(name, model)), None)
        self._names = [*self._names[1 - _REMEMBERED :], (model, name)]
        return name

    def _is(self, name: str, model: ServedModel) -> bool:
        """Tell whether the package's model of a name is `model`, layer by layer."""
        files = package.carried()[name]
        config = files["config"]
        text = config.get("text_config") or config
        ours = model.architecture
        if text.get("num_hidden_layers") != len(ours.order):
            return False
        try:
            theirs = resolve(
                ModelRef(config=config, hf_quant_config=files.get("hf_quant_config")),
                self._catalog,
                quantization=None,
                kv_cache_dtype=None,
            ).model
        except InvalidInput:
            return False
        return _layers(theirs) == _layers(model)


def _layers(model: ServedModel) -> tuple[object, ...]:
    """What makes a model: its layers as they are stored, and what is outside them."""
    return model.order, model.kinds, model.layer_tensors, model.outer


class TabledForward:
    """Passes of a split out of the tables; what they lack raises NotCovered.

    The tables know even pipelines: the slowest stage of another takes as much longer as it has
    more layers. Drafting is in their steps.
    """

    def __init__(self, common: Common, split: Split, compiled: Compiled, chunk_tokens: int) -> None:
        self.common = common
        self.chunk_tokens = chunk_tokens
        self._pipeline = split.pipeline
        self._compiled = compiled
        self._known: dict[Batch, float] = {}

    def stage_seconds(self, batch: Batch, partition: tuple[int, ...]) -> float:
        """Seconds the slowest stage of so many layers each takes, handing on included."""
        known = self._known.get(batch)
        if known is None:
            known = self._known[batch] = self._pass_seconds(batch)
        uneven = max(partition) * len(partition) / sum(partition)
        return known / self._pipeline * uneven

    def draft_seconds(self, _batch: Batch) -> float:
        """Nothing: the passes of a step are in it."""
        return 0.0

    def _pass_seconds(self, batch: Batch) -> float:
        with package.looking_up():
            seconds = self._milliseconds(batch) / 1000
        if not 0 < seconds < inf:
            raise NotCovered
        return seconds

    def _milliseconds(self, batch: Batch) -> float:
        """Ask for a pass; sequences and tokens are whole there.

        Between two numbers of prompts it is between their times.
        """
        if not batch.prompts:
            return self._writing(batch)
        fewer, share = divmod(batch.prompts, 1)
        times = (
            self._reading(msgspec.structs.replace(batch, prompts=prompts))
            for prompts in (fewer, fewer + 1)
        )
        lower, upper = next(times), next(times) if share else 0.0
        return (1 - share) * lower + share * upper

    def _writing(self, batch: Batch) -> float:
        sequences = max(ceil(batch.decoding), 1)
        return self._compiled.predict_decode_latency(sequences, round(batch.context), 2)

    def _reading(self, batch: Batch) -> float:
        """A pass that reads prompts, beside sequences that are written.

        The table of such passes knows no tokens before a chunk: what attending to those adds is
        told by the table of prompts.
        """
        prompts, new, known = round(batch.prompts), round(batch.new), round(batch.end - batch.new)
        if not prompts:
            return self._writing(batch)
        alone = self._compiled.predict_prefill_latency(prompts, known + new, known)
        if not batch.decoding:
            return alone
        first = self._compiled.predict_prefill_latency(prompts, new, 0) if known else alone
        output = max(round(2 * (batch.context - new)), 2)
        both = self._compiled.mixed_step_latency(
            prompts * new, ceil(batch.decoding), new, output, 0
        )
        return both + alone - first


def tables_for(catalog: Catalog) -> SiliconTables | None:
    """Return the tables where their package is installed."""
    return None if package.VERSION is None else SiliconTables(catalog)
