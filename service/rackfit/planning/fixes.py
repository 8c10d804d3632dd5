"""The nearest change that makes a rejected split work, tried before it is offered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from rackfit.catalog.entries import Scheme
from rackfit.engines.rejection import Fix, Rejection
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.memory.answer import gib
from rackfit.memory.stages import StageMemory
from rackfit.planning.evaluation import Evaluator, Fit, Miss
from rackfit.planning.pools import Pool

SMALLER_CACHES = ("fp8", "q8_0", "nvfp4", "q4_0")
SMALLER_SCHEMES = ("fp8", "nvfp4", "awq-int4", "Q4_K_M")
CONTEXT_STEP = 1024
"""Contexts are offered in whole thousands, as people set them."""

STAGES_TRIED = 16
"""Deeper pipelines tried from the one that memory alone would suggest."""

Finder = Callable[[Evaluator], bool]
"""Tells whether any split at all fits, given an evaluator."""


class Fixer:
    """Finds fixes for the splits one search rejected.

    Args:
        evaluator: the search's own, for the question as it was asked.
        schemes: the catalog's, for other ways to store weights.
        finds: searches anew with another evaluator, for changes that open other splits.
    """

    def __init__(self, evaluator: Evaluator, schemes: Mapping[str, Scheme], finds: Finder) -> None:
        self.evaluator = evaluator
        self.question = evaluator.question
        self.schemes = schemes
        self.finds = finds

    def for_miss(self, miss: Miss) -> Fix | None:
        """The nearest fix of a split that lacks memory or devices, None where none is known."""
        wanting = self._for_devices(miss) if miss.needed else self._for_memory(miss)
        return next(wanting, None)

    def for_illegal(self, rejection: Rejection, pool: Pool) -> Fix | None:
        """The nearest legal degree, or a scheme or cache type the engine can load."""
        match rejection.code:
            case "scheme-unsupported":
                return self._loadable(self._scheme_variants, "quantization")
            case "kv-dtype-unsupported":
                return self._loadable(self._cache_variants, "kv_cache_dtype")
            case _:
                return next(self._other_tensors(rejection.split, pool), None)

    @cached_property
    def _cache_variants(self) -> list[tuple[str, Evaluator]]:
        """The model with every smaller cache the engine can keep, largest first."""
        engine, model = self.question.engine, self.question.model
        return [
            (dtype, self._with_model(msgspec.structs.replace(model, kv_cache_dtype=dtype)))
            for dtype in SMALLER_CACHES
            if dtype in engine.kv_cache_dtypes and dtype != model.kv_cache_dtype
        ]

    @cached_property
    def _scheme_variants(self) -> list[tuple[str, Evaluator]]:
        """The model in every smaller scheme the engine loads, largest first."""
        engine, model = self.question.engine, self.question.model
        known = [self.schemes[name] for name in SMALLER_SCHEMES]
        loadable = [scheme for scheme in known if engine.loads(scheme.id, scheme.engines)]
        return [(scheme.id, self._with_model(model.stored_as(scheme))) for scheme in loadable]

    def _with_model(self, model: ServedModel) -> Evaluator:
        return Evaluator(msgspec.structs.replace(self.question, model=model))

    def _for_memory(self, miss: Miss) -> Iterator[Fix]:
        pairs = zip(miss.stages, miss.budgets, strict=True)
        if all(stage.largest_fixed_bytes <= budget for stage, budget in pairs):
            yield from self._smaller_cache(miss)
            yield from self._shorter_context(miss)
        yield from self._smaller_scheme(miss)
        yield from self._more_stages(miss)

    def _for_devices(self, miss: Miss) -> Iterator[Fix]:
        yield from self._smaller_cache(miss)
        yield from self._fewer_sequences(miss)
        yield from self._more_nodes(miss)

    def _smaller_cache(self, miss: Miss) -> Iterator[Fix]:
        for dtype, evaluator in self._cache_variants:
            fit = self._fit(evaluator, miss.split, miss.pool)
            freed = self._cache_bytes(miss.stages) - self._cache_bytes(
                evaluator.stages(miss.split, miss.pool)
            )
            if fit is not None and freed > 0:
                detail = f"A KV cache in {dtype} frees {gib(freed)} GiB a sequence and rank."
                yield self._fix("kv_cache_dtype", dtype, detail, fit.split)

    @staticmethod
    def _cache_bytes(stages: Sequence[StageMemory]) -> int:
        return max(stage.sequence_bytes for stage in stages)

    def _shorter_context(self, miss: Miss) -> Iterator[Fix]:
        low, high = 0, -(-self.question.tokens // CONTEXT_STEP)
        while high - low > 1:
            middle = (low + high) // 2
            fits = self._fit_tokens(miss, middle * CONTEXT_STEP) is not None
            low, high = (middle, high) if fits else (low, middle)
        tokens = low * CONTEXT_STEP
        fit = self._fit_tokens(miss, tokens) if tokens else None
        if fit is not None:
            detail = f"A context of {tokens:,} tokens fits."
            patch = {"workload": {"context_tokens": tokens}}
            yield self._fix("context_tokens", tokens, detail, fit.split, patch)

    def _fit_tokens(self, miss: Miss, tokens: int) -> Fit | None:
        return self._fit(self.evaluator.asking(tokens=tokens), miss.split, miss.pool)

    def _smaller_scheme(self, miss: Miss) -> Iterator[Fix]:
        now = self.question.model.weights_bytes
        for name, evaluator in self._scheme_variants:
            then = evaluator.question.model.weights_bytes
            fit = self._fit(evaluator, miss.split, miss.pool) if then < now else None
            if fit is not None:
                detail = f"Weights in {name} take {gib(then)} GiB in all instead of {gib(now)}."
                yield self._fix("quantization", name, detail, fit.split)

    def _more_stages(self, miss: Miss) -> Iterator[Fix]:
        """A deeper pipeline, on the pool as it is or with as many nodes more as it takes."""
        rooms = zip(miss.stages, miss.budgets, strict=True)
        excess = max((s.largest_fixed_bytes + s.sequence_bytes) / max(b, 1) for s, b in rooms)
        first = max(miss.split.pipeline + 1, int(miss.split.pipeline * excess))
        layers = len(self.question.model.order)
        for pipeline in range(first, min(first + STAGES_TRIED, layers + 1)):
            deeper = msgspec.structs.replace(miss.split, pipeline=pipeline, replicas=1)
            nodes = self._nodes_missing(deeper, miss.pool)
            pool = miss.pool.with_more(nodes) if nodes else miss.pool
            fit = self._fit(self.evaluator, deeper, pool)
            if fit is not None:
                yield self._deeper(fit, nodes)
                return

    def _deeper(self, fit: Fit, nodes: int) -> Fix:
        pipeline, devices = fit.split.pipeline, fit.split.devices
        if not nodes:
            detail = f"PP{pipeline} fits, on {devices} accelerators."
            return self._fix("pipeline", pipeline, detail, fit.split, {})
        detail = f"PP{pipeline} fits on {devices} accelerators: {_more(nodes, fit.pool)}."
        return Fix(change=f"nodes+{nodes}", detail=detail, verified=True)

    @staticmethod
    def _nodes_missing(split: Split, pool: Pool) -> int:
        """Nodes to add before every tensor group of one replica has a place; 0 if none."""
        missing = split.pipeline * split.data - pool.cells(split.tensor, 0)
        each = max(pool.largest_node // split.tensor, 1)
        return max(-(-missing // each), 0)

    def _fewer_sequences(self, miss: Miss) -> Iterator[Fix]:
        replicas = miss.available // (miss.split.pipeline * miss.split.data)
        sequences = replicas * miss.split.data * miss.held
        if not 0 < sequences < self.question.sequences:
            return
        fit = self._fit(self.evaluator.asking(sequences=sequences), miss.split, miss.pool)
        if fit is not None:
            patch = {"workload": {"sequences": sequences}}
            detail = f"{sequences:,} sequences fit on what there is."
            yield self._fix("sequences", sequences, detail, fit.split, patch)

    def _more_nodes(self, miss: Miss) -> Iterator[Fix]:
        cells_per_node = miss.pool.largest_node // miss.split.tensor
        if not cells_per_node:
            return
        nodes = -(-(miss.needed - miss.available) // cells_per_node)
        if self._fit(self.evaluator, miss.split, miss.pool.with_more(nodes)) is not None:
            detail = f"With {_more(nodes, miss.pool)} it fits."
            yield Fix(change=f"nodes+{nodes}", detail=detail, verified=True)

    def _other_tensors(self, split: Split, pool: Pool) -> Iterator[Fix]:
        """Legal tensor degrees, nearest first; those that fit the pool before those that don't."""
        degrees = sorted(
            range(1, pool.largest_domain + 1), key=lambda t: (abs(t - split.tensor), -t)
        )
        legal = [t for t in degrees if self.evaluator.illegal(Split(tensor=t)) is None]
        for tensor in legal:
            near = Split(tensor=tensor, pipeline=split.pipeline)
            if self._fit(self.evaluator, near, pool) is not None:
                detail = f"TP{tensor} instead of TP{split.tensor} is legal and fits."
                yield self._fix("tensor", tensor, detail, near, {})
        if legal:
            detail = f"TP{legal[0]} instead of TP{split.tensor} is legal; more is needed to fit."
            yield self._fix("tensor", legal[0], detail, Split(tensor=legal[0]), {}, verified=False)

    def _loadable(self, variants: list[tuple[str, Evaluator]], field: str) -> Fix | None:
        """The first variant that opens some split; else the first, unverified."""
        working = next((name for name, evaluator in variants if self.finds(evaluator)), None)
        name = working or next((name for name, _ in variants), None)
        if name is None:
            return None
        detail = f"{self.question.engine.name} takes {name}."
        verified = working is not None
        return Fix(change=f"{field}={name}", detail=detail, verified=verified, patch={field: name})

    @staticmethod
    def _fit(evaluator: Evaluator, split: Split, pool: Pool) -> Fit | None:
        one = msgspec.structs.replace(split, replicas=1)
        if evaluator.illegal(one) is not None:
            return None
        outcome = evaluator.evaluate(one, pool)
        return outcome if isinstance(outcome, Fit) else None

    @staticmethod
    def _fix(
        field: str,
        value: str | int,
        detail: str,
        split: Split,
        patch: dict[str, Any] | None = None,
        *,
        verified: bool = True,
    ) -> Fix:
        """A fix whose patch also insists on the split it was tried with."""
        degrees = {name: getattr(split, name) for name in ("tensor", "pipeline", "data", "expert")}
        whole = {**({field: value} if patch is None else patch), "constraints": degrees}
        return Fix(change=f"{field}={value}", detail=detail, verified=verified, patch=whole)


def _more(nodes: int, pool: Pool) -> str:
    plural = "s" * (nodes > 1)
    return f"{nodes} more node{plural} with {pool.largest_node} x {pool.accelerator.id}"
