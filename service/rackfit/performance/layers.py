"""What one layer costs on one rank: its matrices, the core of its attention, its experts."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from rackfit.architecture.model import DenseFeedForward, ExpertFeedForward, Layer
from rackfit.engines.served import StoredTensor
from rackfit.memory.ranks import RankSizes
from rackfit.performance.attention import OPERATIONS, Core, core_of
from rackfit.performance.device import Device
from rackfit.performance.experts import BALANCED_EXCESS, Experts, hottest
from rackfit.performance.mechanism import (
    ELEMENT_BYTES,
    GROUPED_COMPUTE_SHARE,
    GROUPED_READ_SHARE,
    KERNEL_SECONDS,
    together,
)

GROUP_WIDE = ("feed_forward", "shared_experts")
"""Shards an engine may divide over all data ranks too; each then sees their tokens as well."""

NORM_PASSES = 4
"""Times the hidden state is moved by a norm: state and residual, read and written."""

SENT_BYTES = {"fp8": 1, "int8": 1, "fp4": 1}
"""Bytes an element is sent to its experts in, by the number type they multiply (DeepEP)."""

GATE_PASSES = 3
"""Times a feed-forward's width is moved between its products: two read, one written."""


class Matrix(NamedTuple):
    """One product of a layer: seconds of multiplying a token of this rank, and of reading it."""

    seconds_per_token: float
    reading: float


class LayerWork(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of one kind on one rank, all but its routed experts.

    `moving` are seconds a token of moving activations, `launching` those all kernels take at
    least, `sums` counts the all-reduces over tensor ranks.
    """

    matrices: tuple[Matrix, ...]
    core: Core
    moving: float
    launching: float
    sums: int

    def seconds(self, tokens: float) -> float:
        """Seconds for `tokens` tokens of this rank, without the core and exchanges."""
        seconds = self.launching + self.moving * tokens
        for per_token, reading in self.matrices:
            seconds += together(per_token * tokens, reading)
        return seconds


class Routed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One layer's routed experts, undivided: seconds of a token in one, and of reading one."""

    experts: int
    active: int
    sent_bytes: float
    seconds_per_token: float
    seconds_per_expert: float


class Divided(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of each kind and the head; the same for all splits that divide them alike.

    `routed` are the experts of each kind of layer, None where it has none.
    """

    layers: tuple[LayerWork, ...]
    routed: tuple[Routed | None, ...]
    head: Matrix


Measured = Callable[[int], float | None]
"""What the fullest of so many expert ranks gets over the mean, as measured; None: unknown."""


class Layers:
    """The work of a model's layers, for given tensor, data, context and expert degrees.

    Where the loads of experts were `measured` they say how even ranks are.
    """

    def __init__(self, sizes: RankSizes, device: Device, measured: Measured | None = None) -> None:
        self.sizes = sizes
        self.device = device
        self._measured = measured

    @property
    def division(self) -> tuple[str, int, int, int, int]:
        """What all but the routed experts depend on."""
        split, engine = self.sizes.split, self.sizes.engine
        parts = engine.feed_forward_parts(split), engine.shared_expert_parts(split)
        return (self.device.accelerator.id, split.tensor, split.context, *parts)

    def divided(self) -> Divided:
        """The work of one layer of each kind and of the head."""
        model = self.sizes.model
        pairs = tuple(zip(model.kinds, model.layer_tensors, strict=True))
        return Divided(
            layers=tuple(self._layer(kind, stored) for kind, stored in pairs),
            routed=tuple(self._routed(kind, stored) for kind, stored in pairs),
            head=self._head(),
        )

    def experts(self, routed: Sequence[Routed | None]) -> tuple[Experts | None, ...]:
        """The routed experts of each kind of layer on one rank, None where it has none."""
        split = self.sizes.split
        parts = split.expert_tensor or 1
        redundant = self.sizes.engine.choice.redundant_experts
        excess = self._measured(split.expert) if self._measured else None
        return tuple(
            Experts(
                ranks=split.expert,
                held=(held := (whole.experts + redundant) / split.expert),
                active=whole.active,
                sent_bytes=whole.sent_bytes,
                excess=excess or (BALANCED_EXCESS if redundant else hottest(split.expert, held)),
                hidden=self.sizes.model.architecture.hidden_size,
                seconds_per_token=whole.seconds_per_token / parts,
                seconds_per_expert=whole.seconds_per_expert / parts,
            )
            if whole
            else None
            for whole in routed
        )

    def _head(self) -> Matrix:
        """The product with the vocabulary; a tied head is the embedding."""
        model = self.sizes.model
        part = "embedding" if model.architecture.tied_head else "head"
        found = [(s, self._outer_share(s)) for s in model.outer if s.tensor.component == part]
        return self._matrix(found, 1)

    def _layer(self, kind: Layer, stored: Sequence[StoredTensor]) -> LayerWork:
        model, split = self.sizes.model, self.sizes.split
        parts = (kind.attention is not None) + (kind.feed_forward is not None)
        dense = kind.feed_forward
        width = dense.width if isinstance(dense, DenseFeedForward) else 0
        moved = parts * NORM_PASSES * model.architecture.hidden_size
        own, seen = self._divided(shared=False)
        moved += GATE_PASSES * width * seen // own
        matrices = tuple(self._matrices(kind, stored))
        kernels = len(matrices) + parts + bool(width) + bool(kind.attention)
        return LayerWork(
            matrices=matrices,
            core=core_of(
                kind.attention,
                kv_cache_dtype=model.kv_cache_dtype,
                dtype=model.dtype,
                tensor=split.tensor,
            ),
            moving=moved * ELEMENT_BYTES / self.device.read,
            launching=kernels * KERNEL_SECONDS,
            sums=parts,
        )

    def _matrices(self, kind: Layer, stored: Sequence[StoredTensor]) -> Iterator[Matrix]:
        """Products outside the routed experts; what engines keep as one is one."""
        found: dict[tuple[str, str, str], list[tuple[StoredTensor, float]]] = {}
        for s in stored:
            tensor = s.tensor
            if not tensor.linear or tensor.component == "routed_experts":
                continue
            key = (tensor.component, s.scheme.id, tensor.fused or tensor.name)
            share = self.sizes.layer_tensor_bytes(s, kind) / s.stored_bytes
            found.setdefault(key, []).append((s, share))
        for together_kept in found.values():
            yield self._matrix(together_kept, self._tokens_seen(together_kept[0][0]))

    def _tokens_seen(self, stored: StoredTensor) -> int:
        """For each token of this rank, how many pass its part of a tensor."""
        if stored.tensor.shard not in GROUP_WIDE:
            return 1
        return self._divided(shared=stored.tensor.shard == "shared_experts")[1]

    def _divided(self, *, shared: bool) -> tuple[int, int]:
        """Into how many parts feed-forwards are divided, and so many ranks' tokens pass each."""
        split, engine = self.sizes.split, self.sizes.engine
        parts = engine.shared_expert_parts(split) if shared else engine.feed_forward_parts(split)
        return parts, max(1, parts // split.cell)

    def _matrix(self, found: Sequence[tuple[StoredTensor, float]], tokens_seen: int) -> Matrix:
        device = self.device
        computing = sum(
            share * OPERATIONS * s.elements / device.multiplied(s.scheme) for s, share in found
        )
        reading = sum(share * s.stored_bytes for s, share in found) / device.read
        return Matrix(computing * tokens_seen, reading)

    def _outer_share(self, stored: StoredTensor) -> float:
        return self.sizes.outer_bytes(stored) / stored.stored_bytes

    def _routed(self, kind: Layer, stored: Sequence[StoredTensor]) -> Routed | None:
        mixture, device = kind.feed_forward, self.device
        if not isinstance(mixture, ExpertFeedForward):
            return None
        routed = [s for s in stored if s.tensor.component == "routed_experts"]
        multiplied = [s for s in routed if s.tensor.linear]
        computing = sum(s.elements / device.multiplied(s.scheme) for s in multiplied)
        reading = sum(s.stored_bytes for s in routed) / device.read
        return Routed(
            experts=mixture.experts,
            active=mixture.active,
            sent_bytes=min(SENT_BYTES.get(s.scheme.operands, ELEMENT_BYTES) for s in multiplied),
            seconds_per_token=OPERATIONS * computing / mixture.experts / GROUPED_COMPUTE_SHARE,
            seconds_per_expert=reading / mixture.experts / GROUPED_READ_SHARE,
        )
