"""Bytes on each rank of a split: weights, cache, activations and the engine's own.

Ranks of one pipeline stage differ only in how many experts they hold (one more on the first
expert ranks where the experts do not divide), so a stage is counted once or twice, never per
rank.
"""

from collections.abc import Hashable, Iterable, Sequence
from operator import add, mul
from typing import Self

import msgspec

from rackfit.architecture.model import ExpertFeedForward, GroupedAttention, Layer
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.interface import Engine
from rackfit.engines.rules import padded_vocabulary
from rackfit.engines.served import FIRST_STAGE, ServedModel, StoredBlock, StoredTensor
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits
from rackfit.lazy import cached_property
from rackfit.memory.adapters import adapter_bytes, expert_adapter_bytes
from rackfit.memory.columns import held_bytes, regrouped_bytes, table_bytes
from rackfit.memory.shares import WHOLE, Share, Shares, layer_shares
from rackfit.memory.taken import Taken


class RankSizes:
    """Bytes of one model on one rank, for given tensor, data, context and expert degrees.

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
        self._taken: dict[int, Taken] = {}

    def caching(self, model: ServedModel, caches: dict[tuple[int, ...], StageCache]) -> Self:
        """The same ranks with the same weights, whose `model` has a KV cache of another type."""
        other = type(self)(model, self.engine, self.split, self.limits, caches)
        return self._known_to(other, "model")

    def preparing(self, limits: Limits) -> Self:
        """The same ranks with the same weights, whose engine prepares for another batch."""
        return self._known_to(type(self)(self.model, self.engine, self.split, limits), "limits")

    def _known_to(self, other: Self, changed: str) -> Self:
        own = {changed, "_caches", "_taken"}
        vars(other).update({n: v for n, v in vars(self).items() if n not in own})
        return other

    def taken(self, split: Split) -> Taken:
        """What the engine takes besides, on ranks of `split`: graphs go by a stage's layers."""
        found = self._taken.get(split.pipeline)
        if found is None:
            found = self._taken[split.pipeline] = Taken(self.model, self.engine, split, self.limits)
        return found

    @cached_property
    def layer_bytes(self) -> tuple[tuple[int, int, int], ...]:
        """For each kind: bytes besides routed experts, and of the fewest and most experts."""
        kinds = zip(self.model.kinds, self.model.layer_blocks, strict=True)
        known: dict[Hashable, int] = {}
        return tuple(self._layer_bytes(kind, blocks, known) for kind, blocks in kinds)

    @cached_property
    def _fewest_bytes(self) -> tuple[int, ...]:
        """Bytes of a layer of each kind on ranks with fewest experts."""
        return tuple([plain + few for plain, few, _ in self.layer_bytes])

    @cached_property
    def _more_bytes(self) -> tuple[int, ...]:
        """What one weighs more on ranks with most."""
        return tuple([most - few for _, few, most in self.layer_bytes])

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
        mixture, block = kind.feed_forward, StoredBlock.of(self.model.draft)
        size = self._plain_bytes(block, self._shares(kind))
        if isinstance(mixture, ExpertFeedForward):
            held = -(-self._slots(mixture) // self.split.expert)
            size += self._routed_bytes(block.routed, mixture, held)
        return size

    @cached_property
    def embedding_again_bytes(self) -> int:
        """The embedding once more, on a last stage that is not the first: as head, or to draft."""
        drafts = self.engine.drafts_from_embedding and self.engine.choice.speculative_tokens
        if not (self.model.architecture.tied_head or drafts):
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
            size += self.last_stage_bytes + (0 if first else self.embedding_again_bytes)
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
        parts = self.engine.cache_parts(split)
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

    def _layer_bytes(
        self, kind: Layer, blocks: Sequence[StoredBlock], known: dict[Hashable, int]
    ) -> tuple[int, int, int]:
        """See `layer_bytes`; `known` holds what blocks weigh, by their and their kinds' traits."""
        plain = self.engine.layer_computed_bytes(self.model, kind.attention, self.split)
        shares, choice = self._shares(kind), self.engine.choice
        for block in blocks:
            traits = (id(block), shares["kv_heads"], shares["qkv"])
            if traits not in known:
                known[traits] = self._plain_bytes(block, shares)
            plain += known[traits]
        if choice.lora_slots:
            tensors = (s.tensor for block in blocks for s in block.tensors)
            plain += sum(adapter_bytes(tensor, choice, self.split) for tensor in tensors)
        mixture = kind.feed_forward
        if not isinstance(mixture, ExpertFeedForward):
            return plain, 0, 0
        few, more = divmod(self._slots(mixture), self.split.expert)
        fewest = self._experts_bytes(blocks, mixture, few, known)
        if not more:
            return plain, fewest, fewest
        return plain, fewest, self._experts_bytes(blocks, mixture, few + 1, known)

    def _experts_bytes(
        self,
        blocks: Sequence[StoredBlock],
        mixture: ExpertFeedForward,
        held: int,
        known: dict[Hashable, int],
    ) -> int:
        """Bytes of `held` experts of a layer of these blocks; `known` as above."""
        size, choice = 0, self.engine.choice
        if choice.lora_slots and self.engine.adapts_experts:
            hidden = self.model.architecture.hidden_size
            size = held * expert_adapter_bytes(mixture, choice, self.split, hidden)
        for block in blocks:
            if block.routed:
                traits = (id(block), id(mixture), held)
                if traits not in known:
                    known[traits] = self._routed_bytes(block.routed, mixture, held)
                size += known[traits]
        return size

    def _plain_bytes(self, block: StoredBlock, shares: Shares) -> int:
        """Bytes that one rank allocates for a block besides routed experts."""
        sizes: list[int] = []
        fused: dict[tuple[str, str], int] = {}
        ordered: list[tuple[StoredTensor, Share, Share]] = []
        for stored in block.plain:
            tensor = stored.tensor
            part, parts = share = shares.get(tensor.shard, WHOLE)
            if stored.scheme.column_order == "none":
                held = -(-stored.stored_bytes * part // parts)
            else:
                zeros = self.engine.keeps_zeros(stored.scheme, self.limits.generation)
                hidden = self.model.architecture.hidden_size
                held = held_bytes(stored, share, WHOLE, hidden, zeros=zeros)
                ordered.append((stored, share, WHOLE))
            if tensor.fused:
                key = (tensor.component, tensor.fused)
                fused[key] = fused.get(key, 0) + held
            else:
                sizes.append(held)
        tables = self._tables(ordered)
        return sum(map(self.engine.allocated_bytes, [*sizes, *fused.values(), *tables]))

    def _tables(self, ordered: Sequence[tuple[StoredTensor, Share, Share]]) -> Iterable[int]:
        """Bytes of the tables of columns that one rank keeps."""
        if not ordered:
            return ()
        generation, hidden = self.limits.generation, self.model.architecture.hidden_size
        kept = [(s, self.engine.column_bytes(s.scheme, generation), p, w) for s, p, w in ordered]
        return table_bytes(kept, hidden)

    def _slots(self, mixture: ExpertFeedForward) -> int:
        return mixture.experts + self.engine.choice.redundant_experts

    def _routed_bytes(
        self, routed: Sequence[StoredTensor], mixture: ExpertFeedForward, held: int
    ) -> int:
        """Bytes of `held` of a layer's experts on one rank."""
        parts = mixture.experts * (self.split.expert_tensor or 1)
        hidden = self.model.architecture.hidden_size
        sizes: dict[str, int] = {}
        ordered: list[tuple[StoredTensor, Share, Share]] = []
        part, whole = (held, parts), (held, mixture.experts)
        repeats = self.engine.group_halvings(self.model, self.split)
        for s in routed:
            key = s.tensor.fused or s.tensor.name
            if repeats > 1 and s.scheme.scale_columns:
                size = regrouped_bytes(s, (held, parts), repeats)
            elif s.scheme.column_order == "none":
                pad = self.engine.expert_padding(self.model, s.scheme, self.split, self.limits)
                size = -(-s.stored_bytes * held * pad.numerator // (parts * pad.denominator))
            else:
                size = held_bytes(s, part, whole, hidden, zeros=True)
                ordered.append((s, part, whole))
            sizes[key] = sizes.get(key, 0) + size
        tables = self._tables(ordered)
        return sum(map(self.engine.allocated_bytes, [*sizes.values(), *tables]))

    def layer_tensor_bytes(self, stored: StoredTensor, kind: Layer) -> int:
        """Bytes of one rank's part of a layer's tensor, all of them for routed experts."""
        part, parts = self._shares(kind).get(stored.tensor.shard, WHOLE)
        return -(-stored.stored_bytes * part // parts)

    def _shares(self, kind: Layer) -> Shares:
        """The parts of a layer's tensors that one rank holds, as fractions."""
        heads = kind.attention.heads if kind.attention else 1
        kv_heads = kind.attention.kv_heads if isinstance(kind.attention, GroupedAttention) else 1
        known = self._known_shares.get((heads, kv_heads))
        if known is None:
            known = layer_shares(self.engine, self.split, heads, kv_heads)
            self._known_shares[heads, kv_heads] = known
        return known

    @cached_property
    def _known_shares(self) -> dict[tuple[int, int], Shares]:
        """Shares by query and KV heads."""
        return {}

    def outer_bytes(self, stored: StoredTensor) -> int:
        """Bytes of one rank's part of a tensor outside the layers."""
        if stored.tensor.shard == "vision" and stored.tensor.linear:
            return -(-stored.stored_bytes // self.engine.vision_parts(self.split))
        if stored.tensor.shard != "vocabulary":
            return stored.stored_bytes
        rows = self.model.architecture.vocabulary_size
        padded = stored.stored_bytes * padded_vocabulary(rows)
        is_head = stored.tensor.component == "head"
        engine, split = self.engine, self.split
        parts = engine.head_parts(split) if is_head else engine.embedding_parts(split)
        return self.engine.allocated_bytes(-(-padded // (rows * parts)))
