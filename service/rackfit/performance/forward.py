"""One forward pass of a split: what each pipeline stage takes, and handing on between stages."""

from operator import mul
from typing import NamedTuple

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits
from rackfit.memory.ranks import RankSizes
from rackfit.memory.stages import stage_counts
from rackfit.performance.attention import Core
from rackfit.performance.device import Device
from rackfit.performance.experts import Experts
from rackfit.performance.layers import Divided, Layers, LayerWork, Measured
from rackfit.performance.mechanism import ELEMENT_BYTES, KERNEL_SECONDS, together


class Batch(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one data rank works on in one pass; sizes may be fractions, averages over passes.

    `decoding` sequences of `context` tokens each go on by `positions` tokens (more than one
    where a draft is verified); beside them the last `new` tokens of each of `prompts` prompts
    that then have `end` tokens are read.
    """

    decoding: float = 0
    context: float = 0
    positions: int = 1
    prompts: float = 0
    new: float = 0
    end: float = 0

    @property
    def tokens(self) -> float:
        """Tokens of the pass."""
        return self.decoding * self.positions + self.prompts * self.new


class Common:
    """What splits of one model under one engine have in common, worked out once.

    `measured` loads of experts say how even expert ranks are, if there are any.
    """

    def __init__(
        self, model: ServedModel, engine: Engine, measured: Measured | None = None
    ) -> None:
        self.model = model
        self.engine = engine
        self.measured = measured
        self._stages: dict[tuple[int, ...], tuple[Stage, ...]] = {}
        self._partitions: dict[int, tuple[int, ...]] = {}
        self._limits: dict[tuple[str, int], Limits] = {}
        self._divided: dict[tuple[str, int, int, int, int], Divided] = {}

    def limits(self, accelerator: Accelerator, context_tokens: int) -> Limits:
        """The batch the engine prepares for on an accelerator."""
        key = (accelerator.id, context_tokens)
        if key not in self._limits:
            self._limits[key] = self.engine.limits(accelerator, context_tokens)
        return self._limits[key]

    def partition(self, pipeline: int) -> tuple[int, ...]:
        """The layers on each of so many stages, if nothing else is said."""
        if pipeline not in self._partitions:
            layers = len(self.model.order)
            self._partitions[pipeline] = self.engine.partition(layers, pipeline)
        return self._partitions[pipeline]

    def stages(self, partition: tuple[int, ...]) -> tuple["Stage", ...]:
        """Each distinct stage of a pipeline whose stages have so many layers."""
        if partition not in self._stages:
            *others, last = stage_counts(self.model, partition)
            distinct = (Stage(counts, last=False) for counts in dict.fromkeys(others))
            self._stages[partition] = (Stage(last, last=True), *distinct)
        return self._stages[partition]

    def divided(self, layers: Layers) -> Divided:
        """The layers of a split, but for routed experts."""
        found = self._divided.get(layers.division)
        if found is None:
            found = self._divided[layers.division] = layers.divided()
        return found


class Stage(NamedTuple):
    """A pipeline stage: layers of each kind, and whether the head follows them."""

    counts: tuple[int, ...]
    last: bool


class Forward:
    """Passes of a model split over one kind of accelerator, as a roofline by operator.

    Weights are read once a pass whatever the batch; no engine's efficiency is applied. Only
    the tensor, data, expert and both context degrees of `split` are looked at.
    """

    def __init__(
        self, common: Common, split: Split, accelerator: Accelerator, context_tokens: int
    ) -> None:
        limits = common.limits(accelerator, context_tokens)
        self.common = common
        self.split = split
        self.device = Device(accelerator)
        self.chunk_tokens = limits.batched_tokens
        sizes = RankSizes(common.model, common.engine, split, limits)
        layers = Layers(sizes, self.device, common.measured)
        self._divided = common.divided(layers)
        self._experts = layers.experts(self._divided.routed)
        prompts = common.engine.divides_prompts
        self._readers, self._holders = (split.context, 1) if prompts else (1, split.context)
        self._known: dict[Batch, tuple[tuple[float, ...], float]] = {}

    def seconds(self, batch: Batch) -> float:
        """Seconds of a pass through all layers and the head on one stage."""
        return self.stage_seconds(batch, self.common.partition(1))

    def stage_seconds(self, batch: Batch, partition: tuple[int, ...]) -> float:
        """Seconds the slowest stage of so many layers each takes, handing on included."""
        each, head = self._parts(batch)
        slowest = 0.0
        for counts, last in self.common.stages(partition):
            seconds = sum(map(mul, counts, each))
            slowest = max(slowest, seconds + head if last else seconds)
        return slowest + self._handing_on(batch, len(partition))

    def draft_seconds(self, batch: Batch) -> float:
        """Seconds of one pass through a multi-token-prediction layer, alike the last, and head."""
        each, head = self._parts(msgspec.structs.replace(batch, positions=1))
        return each[self.common.model.order[-1]] + head

    def _parts(self, batch: Batch) -> tuple[tuple[float, ...], float]:
        """Seconds of one layer of each kind, and of the head."""
        known = self._known.get(batch)
        if known is None:
            kinds = zip(self._divided.layers, self._experts, strict=True)
            each = tuple(self._layer_seconds(work, experts, batch) for work, experts in kinds)
            known = self._known[batch] = each, self._head_seconds(batch)
        return known

    def _layer_seconds(self, work: LayerWork, experts: Experts | None, batch: Batch) -> float:
        tokens = self._own_tokens(batch)
        seconds = work.seconds(tokens) + self._core_seconds(work.core, batch)
        seconds += self._exchanging(work.sums, experts, tokens)
        if experts is not None:
            seconds += experts.seconds(batch.tokens * self.split.data, self.device)
        return seconds

    def _own_tokens(self, batch: Batch) -> float:
        """Tokens of a pass that one rank works on: context ranks may divide those of prompts."""
        if self._readers == 1:
            return batch.tokens
        return batch.decoding * batch.positions + batch.prompts * batch.new / self._readers

    def _core_seconds(self, core: Core, batch: Batch) -> float:
        size = batch.decoding * batch.positions
        operations = size * core.decode_operations(batch.context)
        if batch.prompts:
            read = batch.prompts * core.prefill_operations(batch.new, batch.end)
            operations += read / self._readers
        reading = batch.decoding * core.decode_bytes(batch.context) / self.device.read
        reading /= self.split.decode_context
        seconds = together(operations / self.device.plain, reading) / self._holders
        return seconds + self._combining(core, batch)

    def _combining(self, core: Core, batch: Batch) -> float:
        """What dividing a sequence costs: passing on what ranks made of their part of it.

        Readers gather each other's rows. Holders of rows send each other what they made of them,
        a part of the heads to each (Helix). Tensor ranks that divide rows gather queries first,
        and add up what comes out.
        """
        split, size = self.split, batch.decoding * batch.positions
        if self._readers > 1:
            return self.device.pass_round(batch.prompts * batch.new * core.row_bytes, self._readers)
        if split.decode_context > 1:
            width = self.common.model.architecture.hidden_size * split.decode_context / split.tensor
            gathered = self.device.all_reduce(size * width * ELEMENT_BYTES, split.decode_context)
            return 2 * gathered
        return self.device.pass_round(size * core.partial * ELEMENT_BYTES, self._holders)

    def _exchanging(self, sums: int, experts: Experts | None, tokens: float) -> float:
        """Sums over a cell; where ranks have tokens of their own, dispatch to experts and back.

        Tokens are sent in the experts' number type and come back in 16 bits.
        """
        split = self.split
        elements = tokens * self.common.model.architecture.hidden_size
        size = elements * ELEMENT_BYTES
        group = split.cell // self._readers
        if experts is None or split.data == self._readers == 1:
            return sums * self.device.all_reduce(size, group)
        ranks, copies = split.stage_ranks, experts.active
        seconds = (sums - 1) * self.device.all_reduce(size, group)
        seconds += self.device.exchange(elements * experts.sent_bytes / group, ranks, copies)
        return seconds + self.device.exchange(size / group, ranks, copies)

    def _head_seconds(self, batch: Batch) -> float:
        """Logits of every decoded position and of the last token of each prompt."""
        tokens = batch.decoding * batch.positions + batch.prompts
        per_token, reading = self._divided.head
        return together(per_token * tokens, reading) + KERNEL_SECONDS

    def _handing_on(self, batch: Batch, pipeline: int) -> float:
        if pipeline == 1:
            return 0.0
        size = batch.tokens * self.common.model.architecture.hidden_size * ELEMENT_BYTES
        return self.device.send(size / self.split.cell, self.split.stage_ranks * pipeline)
