"""Bytes on each rank of a split: weights, cache, activations and the engine's own.

Ranks of one pipeline stage differ only in how many experts they hold (one more on the first
expert ranks where the experts do not divide), so a stage is counted once or twice, never per
rank.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import add, mul, sub
from typing import Self

import msgspec

from rackfit.architecture.model import ExpertFeedForward, GroupedAttention, Layer, Tensor
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.interface import Engine
from rackfit.engines.rules import padded_vocabulary
from rackfit.engines.served import FIRST_STAGE, ServedModel, StoredTensor
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits

UNADAPTED = ("experts", "vision", "vocabulary")
"""What adapters leave alone: routed experts, the vision tower, embedding and head."""


class RankSizes:
    """Bytes of one model on one rank, for given tensor, data and expert degrees.

    The pipeline degree of `split` is not looked at: stages are asked for by their layers. Sizes
    of one tensor degree may share `caches`, the stages' caches by their layers.
    """

    def __init__(
        self,
        model: ServedModel,
        engine: Engine,
        split: Split,
        limits: Limits,
        caches: dict[tuple[int, ...], StageCache] | None = None,
    ) -> None:
        self.model = model
        self.engine = engine
        self.split = split
        self.limits = limits
        self._caches = {} if caches is None else caches

    def caching(self, model: ServedModel, caches: dict[tuple[int, ...], StageCache]) -> Self:
        """The same ranks with the same weights, whose `model` has a KV cache of another type."""
        other = type(self)(model, self.engine, self.split, self.limits, caches)
        kept = {n: v for n, v in vars(self).items() if n not in {"model", "_caches"}}
        vars(other).update(kept)
        return other

    @cached_property
    def layer_bytes(self) -> tuple[tuple[int, int, int], ...]:
        """For each kind: bytes besides routed experts, and of the fewest and most experts."""
        kinds = zip(self.model.kinds, self.model.layer_tensors, strict=True)
        return tuple(self._layer_bytes(kind, stored) for kind, stored in kinds)

    @cached_property
    def _fewest_bytes(self) -> tuple[int, ...]:
        """Bytes of a layer of each kind on ranks with fewest experts."""
        return tuple(plain + few for plain, few, _ in self.layer_bytes)

    @cached_property
    def _more_bytes(self) -> tuple[int, ...]:
        """What one weighs more on ranks with most."""
        return tuple(most - few for _, few, most in self.layer_bytes)

    @cached_property
    def first_stage_bytes(self) -> int:
        """Embedding and vision tower."""
        outer = self.model.outer
        return sum(self.outer_bytes(s) for s in outer if s.tensor.component in FIRST_STAGE)

    @cached_property
    def last_stage_bytes(self) -> int:
        """Head, final norm and whatever else stands after the layers."""
        outer = self.model.outer
        ends = sum(self.outer_bytes(s) for s in outer if s.tensor.component not in FIRST_STAGE)
        return ends + (self._draft_bytes if self.engine.choice.speculative_tokens else 0)

    @property
    def _draft_bytes(self) -> int:
        """Multi-token-prediction layers, divided as the last layer is."""
        kind = self.model.kinds[self.model.order[-1]]
        mixture = kind.feed_forward
        rest = [s for s in self.model.draft if s.tensor.shard != "experts"]
        size = self._allocated([(s, self.layer_tensor_bytes(s, kind)) for s in rest])
        if isinstance(mixture, ExpertFeedForward):
            held = -(-self._slots(mixture) // self.split.expert)
            routed = [s for s in self.model.draft if s.tensor.shard == "experts"]
            size += self._routed_bytes(routed, mixture, held)
        return size

    @cached_property
    def tied_head_bytes(self) -> int:
        """The embedding once more, on a last stage that is not the first."""
        if not self.model.architecture.tied_head:
            return 0
        outer = self.model.outer
        return sum(self.outer_bytes(s) for s in outer if s.tensor.component == "embedding")

    @cached_property
    def computed_bytes(self) -> int:
        """What is computed at loading and kept on every stage."""
        return self.engine.computed_bytes(self.model)

    def weights_bytes(self, counts: tuple[int, ...], *, first: bool, last: bool) -> int:
        """Weights of a stage with `counts` layers of each kind, on ranks with fewest experts."""
        size: int = self.computed_bytes + sum(map(mul, counts, self._fewest_bytes))
        if first:
            size += self.first_stage_bytes
        if last:
            size += self.last_stage_bytes + (0 if first else self.tied_head_bytes)
        return size

    def layers_bytes(self, counts: tuple[int, ...]) -> int:
        """The layers alone of a stage, on ranks with most experts."""
        most = map(add, self._fewest_bytes, self._more_bytes)
        return sum(map(mul, counts, most))

    def extra_expert_bytes(self, counts: tuple[int, ...]) -> int:
        """What ranks with most experts weigh more."""
        return sum(map(mul, counts, self._more_bytes))

    def stage_cache(self, counts: tuple[int, ...], split: Split) -> StageCache:
        """What a stage of `split` with `counts` layers of each kind keeps of sequences."""
        parts = split.cache_parts
        key = (parts, split.pipeline, *counts)
        cache = self._caches.get(key)
        if cache is None:
            cache = self.engine.stage_cache(self.model, split, counts, self.limits)
            if parts > 1:
                cache = msgspec.structs.replace(cache, parts=parts)
            self._caches[key] = cache
        return cache

    def with_draft(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """The last stage's layers and those the engine drafts with, alike the last one."""
        if not self.engine.choice.speculative_tokens:
            return counts
        last, more = self.model.order[-1], self.model.architecture.draft_layers
        return tuple(n + more * (kind == last) for kind, n in enumerate(counts))

    def _layer_bytes(self, kind: Layer, stored: tuple[StoredTensor, ...]) -> tuple[int, int, int]:
        routed = [s for s in stored if s.tensor.shard == "experts"]
        rest = [s for s in stored if s.tensor.shard != "experts"] if routed else stored
        plain = self._allocated([(s, self.layer_tensor_bytes(s, kind)) for s in rest])
        plain += self.engine.layer_computed_bytes(self.model, kind.attention, self.split)
        if self.engine.choice.lora_slots:
            plain += sum(self._adapter_bytes(s.tensor) for s in stored)
        if not isinstance(kind.feed_forward, ExpertFeedForward):
            return plain, 0, 0
        few, more = divmod(self._slots(kind.feed_forward), self.split.expert)
        fewest = self._routed_bytes(routed, kind.feed_forward, few)
        if not more:
            return plain, fewest, fewest
        return plain, fewest, self._routed_bytes(routed, kind.feed_forward, few + 1)

    def _slots(self, mixture: ExpertFeedForward) -> int:
        return mixture.experts + self.engine.choice.redundant_experts

    def _routed_bytes(
        self, routed: Sequence[StoredTensor], mixture: ExpertFeedForward, held: int
    ) -> int:
        """Bytes of `held` of a layer's experts on one rank."""
        parts = mixture.experts * (self.split.expert_tensor or 1)
        hidden = self.model.architecture.hidden_size
        sizes = []
        for s in routed:
            padding = self.engine.expert_padding(mixture, hidden, s.scheme, self.split, self.limits)
            whole = s.stored_bytes * held * padding.numerator
            sizes.append((s, -(-whole // (parts * padding.denominator))))
        return self._allocated(sizes)

    def _adapter_bytes(self, tensor: Tensor) -> int:
        """Both low-rank matrices of every adapter slot, in 16 bits.

        The side that the tensor ranks divide is divided, the other whole (vLLM lora/layers).
        """
        choice = self.engine.choice
        if not tensor.linear or tensor.shard in UNADAPTED:
            return 0
        rows, columns = tensor.shape[-2:]
        parts = 1 if tensor.shard == "replicated" else self.split.tensor
        rows, columns = (rows // parts, columns) if tensor.fused else (rows, columns // parts)
        return choice.lora_slots * choice.lora_rank * (rows + columns) * 2

    def _allocated(self, tensors: Sequence[tuple[StoredTensor, int]]) -> int:
        """Bytes the engine allocates for tensors of one layer, given each one's part here."""
        sizes: dict[tuple[str, str], int] = {}
        for stored, size in tensors:
            key = (stored.tensor.component, stored.tensor.fused or stored.tensor.name)
            sizes[key] = sizes.get(key, 0) + size
        return sum(map(self.engine.allocated_bytes, sizes.values()))

    def layer_tensor_bytes(self, stored: StoredTensor, kind: Layer) -> int:
        """Bytes of one rank's part of a layer's tensor, all of them for routed experts."""
        tensor = self.split.tensor
        match stored.tensor.shard:
            case "heads":
                return -(-stored.stored_bytes // tensor)
            case "feed_forward":
                return -(-stored.stored_bytes // self.engine.feed_forward_parts(self.split))
            case "kv_heads":
                return _kv_share(stored.stored_bytes, kind, tensor)
            case "qkv":
                return _fused_share(stored.stored_bytes, kind, tensor)
            case "shared_experts":
                return -(-stored.stored_bytes // self.engine.shared_expert_parts(self.split))
            case _:
                return stored.stored_bytes

    def outer_bytes(self, stored: StoredTensor) -> int:
        """Bytes of one rank's part of a tensor outside the layers."""
        if stored.tensor.shard == "vision" and stored.tensor.linear:
            return -(-stored.stored_bytes // self.engine.vision_parts(self.split))
        if stored.tensor.shard != "vocabulary":
            return stored.stored_bytes
        rows = self.model.architecture.vocabulary_size
        padded = stored.stored_bytes * padded_vocabulary(rows)
        return self.engine.allocated_bytes(-(-padded // (rows * self.split.tensor)))


def stage_counts(model: ServedModel, partition: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield how many layers of each kind stand on each stage of a partition of the layers."""
    if len(partition) == 1:
        yield tuple(model.order.count(kind) for kind in range(len(model.kinds)))
        return
    cut, before = 0, model.counts_before[0]
    for layers in partition:
        cut += layers
        after = model.counts_before[cut]
        yield tuple(map(sub, after, before))
        before = after


def _kv_share(stored_bytes: int, kind: Layer, tensor: int) -> int:
    heads = _kv_heads(kind)
    return -(-stored_bytes * max(1, -(-heads // tensor)) // heads)


def _fused_share(stored_bytes: int, kind: Layer, tensor: int) -> int:
    heads, kv_heads = kind.attention.heads if kind.attention else 1, _kv_heads(kind)
    held = -(-heads // tensor) + 2 * max(1, -(-kv_heads // tensor))
    return -(-stored_bytes * held // (heads + 2 * kv_heads))


def _kv_heads(kind: Layer) -> int:
    return kind.attention.kv_heads if isinstance(kind.attention, GroupedAttention) else 1
