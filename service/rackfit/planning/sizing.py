"""Memory of the stages of one model's splits, each worked out once."""

from collections.abc import Sequence
from operator import sub

from rackfit.catalog.entries import Accelerator
from rackfit.engines.cache_layout import merged, sequence_bytes
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits
from rackfit.memory.ranks import RankSizes
from rackfit.memory.stages import (
    Layout,
    Shape,
    StageMemory,
    distinct_stages,
    layout_of,
    stage_layout,
)
from rackfit.planning.outcomes import Stages
from rackfit.planning.partitions import Partition, evened


class Sizing:
    """Sizes of one model under one engine, on any accelerator.

    Those of a model that differs in its KV cache alone are taken from `alike`, but for the cache.
    """

    def __init__(self, model: ServedModel, engine: Engine, alike: "Sizing | None" = None) -> None:
        self.model = model
        self.engine = engine
        self.alike = alike
        self._prepared: dict[tuple[str, int], Prepared] = {}
        self._by_limits: dict[Limits, Prepared] = {}

    def stages(self, split: Split, accelerator: Accelerator, tokens: int) -> Stages:
        """Memory of every stage of a split, for sequences of so many tokens."""
        return self.prepared(accelerator, tokens).stages(split, tokens)

    def least_sequence_bytes(self, tokens: int) -> int:
        """Bytes of one sequence, undivided and without any padding."""
        numbers = self.model.kind_counts
        terms = merged(zip(numbers, self.model.cache_terms(1), strict=True))
        return sequence_bytes(terms, tokens)

    def caching(self, kv_cache_dtype: str) -> "Sizing":
        """Return the sizes with a KV cache of another type."""
        return Sizing(self.model.caching(kv_cache_dtype), self.engine, self)

    def prepared(self, accelerator: Accelerator, tokens: int) -> "Prepared":
        """Return the sizes for the batch the engine prepares for on an accelerator."""
        key = (accelerator.id, tokens)
        found = self._prepared.get(key)
        if found is None:
            limits = self.engine.limits(accelerator, tokens)
            found = self._by_limits.get(limits)
            if found is None:
                alike = self.alike.prepared(accelerator, tokens) if self.alike else None
                found = self._by_limits[limits] = Prepared(self.model, self.engine, limits, alike)
            self._prepared[key] = found
        return found


class Prepared:
    """Sizes for one batch that the engine prepares for."""

    def __init__(
        self, model: ServedModel, engine: Engine, limits: Limits, alike: "Prepared | None"
    ) -> None:
        self._model = model
        self._engine = engine
        self._limits = limits
        self._alike = alike
        self._stages: dict[tuple[int, int, int, int, int, int, int], Stages] = {}
        self._shapes: dict[tuple[int, int, int, int, int], dict[Shape, StageMemory]] = {}
        self._sizes: dict[tuple[int, int, int, int], RankSizes] = {}
        self.layouts: dict[int, Layout] = alike.layouts if alike else {}
        self._caches: dict[int, dict[tuple[int, ...], StageCache]] = {}

    def stages(self, split: Split, tokens: int) -> Stages:
        """Memory of every stage of a split, for sequences of so many tokens."""
        parts = (split.context, split.decode_context)
        key = (split.tensor, split.data, split.expert, *parts, split.pipeline, tokens)
        stages = self._stages.get(key)
        if stages is None:
            shapes = self._shapes.setdefault(key[:5], {})
            layout = self._layout(split.pipeline)
            distinct = distinct_stages(self.sizes(split), split, tokens, layout, shapes)
            every = tuple(map(distinct.__getitem__, layout.places))
            stages = self._stages[key] = Stages(every, distinct, layout.counts)
        return stages

    def evened(
        self, split: Split, tokens: int, budgets: Sequence[int], held: int
    ) -> tuple[Partition, Stages] | None:
        """Stages whose layers leave the fullest rank most room; None where no list does better.

        Args:
            split: whose layers the engine would divide otherwise.
            tokens: length of a sequence.
            budgets: what a rank of each stage may take.
            held: sequences that a data rank holds.
        """
        loads = self.layer_loads(split, tokens, held)
        rest = self.rests(split, tokens)
        partition = evened(loads, tuple(map(sub, budgets, rest)))
        if partition is None or partition == self._engine.partition(len(loads), split.pipeline):
            return None
        return partition, self.divided(split, tokens, partition)

    def divided(self, split: Split, tokens: int, partition: Partition) -> Stages:
        """Memory of every stage, of so many layers each."""
        layout = layout_of(self._model, partition)
        found = distinct_stages(self.sizes(split), split, tokens, layout, {})
        return Stages(tuple(map(found.__getitem__, layout.places)), found, layout.counts)

    def rests(self, split: Split, tokens: int) -> tuple[int, ...]:
        """What a rank of each stage holds besides its layers and sequences."""
        layout, sizes = self._layout(split.pipeline), self.sizes(split)
        pairs = zip(layout.shapes, self.stages(split, tokens).distinct, strict=True)
        rest = [
            stage.largest_fixed_bytes - sizes.layers_bytes(counts)
            for (_, counts, _, _), stage in pairs
        ]
        return tuple(map(rest.__getitem__, layout.places))

    def layer_loads(self, split: Split, tokens: int, held: int) -> list[int]:
        """Bytes of each layer on a rank with most experts: weights, and the rows of `held`."""
        seen = -(-tokens // self._engine.cache_parts(split))
        kinds = zip(
            self.sizes(split).layer_bytes, self._model.cache_terms(split.tensor), strict=True
        )
        each = [
            plain + most + held * sequence_bytes(terms, seen) for (plain, _, most), terms in kinds
        ]
        return [each[kind] for kind in self._model.order]

    def _layout(self, pipeline: int) -> Layout:
        layout = self.layouts.get(pipeline)
        if layout is None:
            layout = stage_layout(self._model, self._engine, pipeline)
            self.layouts[pipeline] = layout
        return layout

    def sizes(self, split: Split) -> RankSizes:
        """Sizes on the ranks of a split's tensor, data, context and expert degrees."""
        key = (split.tensor, split.data, split.context, split.expert)
        sizes = self._sizes.get(key)
        if sizes is None:
            caches = self._caches.setdefault(split.tensor, {})
            if self._alike is None:
                sizes = RankSizes(self._model, self._engine, split, self._limits, caches)
            else:
                sizes = self._alike.sizes(split).caching(self._model, caches)
            self._sizes[key] = sizes
        return sizes
