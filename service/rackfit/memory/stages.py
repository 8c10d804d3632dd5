"""Memory of each pipeline stage of a split, each distinct stage counted once."""

from collections.abc import Iterator, Sequence
from operator import sub

import msgspec

from rackfit.engines.cache_pool import StageCache, fewest_tokens
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Fixed
from rackfit.memory.question import Capacity, RankMemory
from rackfit.memory.ranks import RankSizes

UNBOUNDED = 1_000_000_000
"""Sequences a rank without any cache holds: as many as anyone asks for."""


class StageMemory(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Bytes on a rank of one stage; `cache` is what it keeps of a sequence.

    `sequence_bytes` are those of one sequence of `tokens`, the context asked for. Ranks that hold
    one expert more than the others weigh `extra_expert_bytes` more.
    """

    weights_bytes: int
    extra_expert_bytes: int
    activation_bytes: int
    overhead_bytes: int
    sequence_bytes: int
    cache: StageCache
    tokens: int

    def of_tokens(self, tokens: int) -> "StageMemory":
        """The same with sequences of so many tokens."""
        return StageMemory(
            weights_bytes=self.weights_bytes,
            extra_expert_bytes=self.extra_expert_bytes,
            activation_bytes=self.activation_bytes,
            overhead_bytes=self.overhead_bytes,
            sequence_bytes=self.cache.sequence_bytes(tokens),
            cache=self.cache,
            tokens=tokens,
        )

    @property
    def other_bytes(self) -> int:
        """What is neither weights nor cache."""
        return self.activation_bytes + self.overhead_bytes

    @property
    def largest_weights_bytes(self) -> int:
        """Weights of the rank with most experts."""
        return self.weights_bytes + self.extra_expert_bytes

    @property
    def largest_fixed_bytes(self) -> int:
        """All but the cache, on the rank with most experts."""
        weights = self.weights_bytes + self.extra_expert_bytes
        return weights + self.activation_bytes + self.overhead_bytes

    def budget_bytes(self, engine: Engine, start: Start, free: int) -> int:
        """What the fullest rank of this stage may take of a device."""
        fixed = Fixed(
            weights=self.largest_weights_bytes,
            activation=self.activation_bytes,
            overhead=self.overhead_bytes,
        )
        return engine.budget_bytes(start, free, fixed)

    def rank_memory(self, load: "RankLoad") -> RankMemory:
        """This stage's figures as those of one rank."""
        weights = self.weights_bytes + load.extra_expert * self.extra_expert_bytes
        cache = load.sequences * self.sequence_bytes
        return RankMemory(
            rank=load.rank,
            stage=load.stage,
            weights_bytes=weights,
            kv_cache_bytes=cache,
            activation_bytes=self.activation_bytes,
            overhead_bytes=self.overhead_bytes,
            total_bytes=weights + cache + self.other_bytes,
            kv_cache_bytes_per_token=self.cache.whole_bytes_per_token,
            budget_bytes=load.budget_bytes,
        )


class RankLoad(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What sets one rank of a stage apart from the others."""

    rank: int
    stage: int
    sequences: int
    extra_expert: bool
    budget_bytes: int | None


Shape = tuple[int, tuple[int, ...], bool, bool]
"""A stage: how many there are, its layers of each kind, whether it is the first and the last."""


class Layout(msgspec.Struct, frozen=True):
    """The stages of a pipeline: each distinct shape, how often it stands there, and which where."""

    shapes: tuple[Shape, ...]
    counts: tuple[int, ...]
    places: tuple[int, ...]


def stage_layout(model: ServedModel, engine: Engine, pipeline: int) -> Layout:
    """The stages that `engine` divides the layers of `model` into."""
    return layout_of(model, engine.partition(len(model.order), pipeline))


def layout_of(model: ServedModel, partition: tuple[int, ...]) -> Layout:
    """The stages of so many layers each."""
    pipeline = len(partition)
    found: dict[Shape, int] = {}
    places = []
    for number, counts in enumerate(stage_counts(model, partition)):
        shape = (pipeline, counts, number == 0, number == pipeline - 1)
        places.append(found.setdefault(shape, len(found)))
    return Layout(tuple(found), tuple(map(places.count, found.values())), tuple(places))


def stage_counts(model: ServedModel, partition: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield how many layers of each kind stand on each stage of a partition of the layers."""
    if len(partition) == 1:
        yield model.kind_counts
        return
    cut, before = 0, model.counts_before[0]
    for layers in partition:
        cut += layers
        after = model.counts_before[cut]
        yield tuple(map(sub, after, before))
        before = after


def stage_memories(
    sizes: RankSizes, split: Split, tokens: int, partition: tuple[int, ...]
) -> tuple[StageMemory, ...]:
    """Memory of every stage of `split` for sequences of `tokens` tokens; alike ones are the same.

    `sizes` are those of the split's tensor, data, context and expert degrees; each stage has as
    many layers as `partition` says.
    """
    layout = layout_of(sizes.model, partition)
    distinct = distinct_stages(sizes, split, tokens, layout, {})
    return tuple(map(distinct.__getitem__, layout.places))


def distinct_stages(
    sizes: RankSizes, split: Split, tokens: int, layout: Layout, known: dict[Shape, StageMemory]
) -> tuple[StageMemory, ...]:
    """The same of each distinct stage of its `layout`.

    Stages `known` of these sizes, of sequences of any length, are taken from there and added.
    """
    found = []
    for shape in layout.shapes:
        stage = known.get(shape)
        if stage is None:
            stage = known[shape] = _stage(sizes, split, shape, tokens)
        found.append(stage if stage.tokens == tokens else stage.of_tokens(tokens))
    return tuple(found)


def _stage(sizes: RankSizes, split: Split, shape: Shape, tokens: int) -> StageMemory:
    _, counts, first, last = shape
    cache = sizes.stage_cache(sizes.with_draft(counts) if last else counts, split)
    taken = sizes.taken(split)
    return StageMemory(
        weights_bytes=sizes.weights_bytes(counts, first=first, last=last),
        extra_expert_bytes=sizes.extra_expert_bytes(counts),
        activation_bytes=taken.activation_bytes(first=first, last=last),
        overhead_bytes=taken.overhead_bytes,
        sequence_bytes=cache.sequence_bytes(tokens),
        cache=cache,
        tokens=tokens,
    )


def sequences_per_rank(split: Split, sequences: int) -> int:
    """Sequences each data rank carries of a deployment's `sequences`."""
    return -(-sequences // (split.data * split.replicas))


def sequences_held(stages: Sequence[StageMemory], budgets: Sequence[int]) -> int:
    """Sequences that fit beside everything else on the fullest rank of every stage.

    Negative where not even the fixed part fits; unbounded caches count as one billion.
    """
    return min(map(_sequences, stages, budgets))


def _sequences(stage: StageMemory, budget: int) -> int:
    room = budget - stage.largest_fixed_bytes
    if room < 0:
        return -1
    return room // stage.sequence_bytes if stage.sequence_bytes else UNBOUNDED


def capacity(
    engine: Engine,
    split: Split,
    stages: Sequence[StageMemory],
    budgets: Sequence[int],
    context: int,
) -> Capacity:
    """What is left for cache where least is left, given each stage's budget on its devices.

    Sequences are at most those the engine is started for.
    """
    rooms = [
        (stage.cache, max(budget - stage.largest_fixed_bytes, 0))
        for stage, budget in zip(stages, budgets, strict=True)
    ]
    held = min(max(sequences_held(stages, budgets), 0), engine.choice.max_sequences or UNBOUNDED)
    return Capacity(
        kv_cache_bytes=min(room for _, room in rooms),
        kv_cache_tokens=fewest_tokens(rooms, context),
        sequences=held * split.data * split.replicas,
    )
