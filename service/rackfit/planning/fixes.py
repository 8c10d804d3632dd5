"""The nearest change that makes a rejected split work, tried before it is offered."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rackfit.architecture.quantization import override
from rackfit.catalog.entries import Scheme
from rackfit.engines.rejection import Fix, Rejection
from rackfit.engines.split import Split
from rackfit.memory.answer import gib
from rackfit.planning.evaluation import Evaluator, Fit, Miss, Question
from rackfit.planning.pools import Pool

SMALLER_CACHES = {"f32": "bf16", "bf16": "fp8", "f16": "fp8", "fp8": "nvfp4"}
LLAMA_CPP_CACHES = {"f16": "q8_0", "bf16": "q8_0", "q8_0": "q4_0"}
SMALLER_SCHEMES = ("fp8", "nvfp4", "awq-int4", "Q4_K_M")
SHORTEST_CONTEXT = 1024
MOST_NODES = 1 << 12


class Fixer:
    """Finds fixes for the splits one question rejected."""

    def __init__(self, evaluator: Evaluator, schemes: Mapping[str, Scheme]) -> None:
        self.evaluator = evaluator
        self.question = evaluator.question
        self.schemes = schemes

    def for_miss(self, miss: Miss) -> Fix | None:
        """The nearest fix of a split that lacks memory or devices, None where none is known."""
        wanting = self._for_devices(miss) if miss.needed else self._for_memory(miss)
        return next(wanting, None)

    def for_illegal(self, rejection: Rejection, pool: Pool) -> Fix | None:
        """The nearest legal degree, or a scheme or cache type the engine can load."""
        match rejection.code:
            case "scheme-unsupported":
                return next(self._other_schemes(rejection.split, pool), None)
            case "kv-dtype-unsupported":
                return next(self._other_caches(rejection.split, pool), None)
            case _:
                return next(self._other_tensors(rejection.split, pool), None)

    def _for_memory(self, miss: Miss) -> Iterator[Fix]:
        weights_fit = all(
            stage.largest_fixed_bytes <= budget
            for stage, budget in zip(miss.stages, miss.budgets, strict=True)
        )
        if weights_fit:
            yield from self._smaller_cache(miss)
            yield from self._shorter_context(miss)
        yield from self._smaller_scheme(miss)
        yield from self._more_nodes(miss)

    def _for_devices(self, miss: Miss) -> Iterator[Fix]:
        yield from self._smaller_cache(miss)
        yield from self._fewer_sequences(miss)
        yield from self._more_nodes(miss)

    def _smaller_cache(self, miss: Miss) -> Iterator[Fix]:
        before = self.question.model.kv_cache_dtype
        smaller = SMALLER_CACHES.get(before)
        if smaller not in self.question.engine.kv_cache_dtypes:
            smaller = LLAMA_CPP_CACHES.get(before)
        if smaller not in self.question.engine.kv_cache_dtypes or smaller is None:
            return
        model = msgspec.structs.replace(self.question.model, kv_cache_dtype=smaller)
        fit = self._retry(miss, msgspec.structs.replace(self.question, model=model))
        if fit is not None:
            held = fit.split.replicas * fit.split.data
            freed = self._cache_bytes(miss.stages) - self._cache_bytes(fit.stages)
            each = -(-self.question.sequences // held)
            yield self._fix(
                f"kv_cache_dtype={smaller}",
                f"A KV cache in {smaller} frees {gib(freed * each)} GiB on the fullest rank.",
                fit.split,
                {"kv_cache_dtype": smaller},
            )

    @staticmethod
    def _cache_bytes(stages: tuple[Any, ...]) -> int:
        return max(stage.sequence_bytes for stage in stages)

    def _shorter_context(self, miss: Miss) -> Iterator[Fix]:
        low, high = 0, self.question.tokens
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._retry_tokens(miss, middle) else (low, middle)
        step = SHORTEST_CONTEXT
        tokens = low // step * step
        fit = self._retry_tokens(miss, tokens) if tokens else None
        if fit is not None:
            patch = {"workload": {"context_tokens": tokens}}
            detail = f"A context of {tokens:,} tokens fits."
            yield self._fix(f"context_tokens={tokens}", detail, fit.split, patch)

    def _retry_tokens(self, miss: Miss, tokens: int) -> Fit | None:
        return self._retry(miss, msgspec.structs.replace(self.question, tokens=tokens))

    def _smaller_scheme(self, miss: Miss) -> Iterator[Fix]:
        yield from self._other_schemes(miss.split, miss.pool)

    def _other_schemes(self, split: Split, pool: Pool) -> Iterator[Fix]:
        now = self.question.model.weights_bytes
        engine = self.question.engine
        for name in SMALLER_SCHEMES:
            scheme = self.schemes[name]
            if not engine.loads(scheme.id, scheme.engines):
                continue
            stored = override(scheme, self.question.model.architecture.dtype)
            model = msgspec.structs.replace(self.question.model, storage=stored, scheme=scheme)
            if model.weights_bytes >= now and not self._unloadable(split):
                continue
            question = msgspec.structs.replace(self.question, model=model)
            fit = self._fits(Evaluator(question), split, pool)
            if fit is not None:
                detail = (
                    f"Weights in {scheme.name} take {gib(model.weights_bytes)} GiB in all "
                    f"instead of {gib(now)}."
                )
                patch = {"quantization": scheme.id}
                yield self._fix(f"quantization={scheme.id}", detail, fit.split, patch)

    def _unloadable(self, split: Split) -> bool:
        rejection = self.evaluator.illegal(split)
        return rejection is not None and rejection.code == "scheme-unsupported"

    def _other_caches(self, split: Split, pool: Pool) -> Iterator[Fix]:
        for dtype in self.question.engine.kv_cache_dtypes:
            model = msgspec.structs.replace(self.question.model, kv_cache_dtype=dtype)
            question = msgspec.structs.replace(self.question, model=model)
            fit = self._fits(Evaluator(question), split, pool)
            if fit is not None:
                detail = f"{self.question.engine.name} can keep its KV cache as {dtype}."
                yield self._fix(
                    f"kv_cache_dtype={dtype}", detail, fit.split, {"kv_cache_dtype": dtype}
                )

    def _other_tensors(self, split: Split, pool: Pool) -> Iterator[Fix]:
        degrees = range(1, pool.largest_domain + 1)
        for tensor in sorted(degrees, key=lambda t: (abs(t - split.tensor), -t)):
            near = Split(tensor=tensor, pipeline=split.pipeline, replicas=split.replicas)
            if self.evaluator.illegal(near) is not None:
                continue
            verified = self._fits(self.evaluator, near, pool) is not None
            detail = f"TP{tensor} instead of TP{split.tensor} is legal."
            yield self._fix(f"tensor={tensor}", detail, near, {}, verified=verified)

    def _fewer_sequences(self, miss: Miss) -> Iterator[Fix]:
        cells = miss.split.pipeline * miss.split.data
        replicas = miss.available // cells
        sequences = replicas * miss.split.data * miss.held
        if not 0 < sequences < self.question.sequences:
            return
        question = msgspec.structs.replace(self.question, sequences=sequences)
        fit = self._retry(miss, question)
        if fit is not None:
            patch = {"workload": {"sequences": sequences}}
            detail = f"{sequences:,} sequences fit on what there is."
            yield self._fix(f"sequences={sequences}", detail, fit.split, patch)

    def _more_nodes(self, miss: Miss) -> Iterator[Fix]:
        if not miss.needed or miss.split.tensor > miss.pool.largest_node:
            return
        missing = miss.needed - miss.available
        nodes = -(-missing // (miss.pool.largest_node // miss.split.tensor))
        if nodes > MOST_NODES:
            return
        fit = self._fits(self.evaluator, miss.split, miss.pool.with_more(nodes))
        if fit is not None:
            size, name = miss.pool.largest_node, miss.pool.accelerator.id
            detail = f"{nodes} more node{'s' * (nodes > 1)} with {size} x {name}."
            yield Fix(change=f"nodes+{nodes}", detail=detail, verified=True)

    def _retry(self, miss: Miss, question: Question) -> Fit | None:
        return self._fits(Evaluator(question), miss.split, miss.pool)

    def _fits(self, evaluator: Evaluator, split: Split, pool: Pool) -> Fit | None:
        one = msgspec.structs.replace(split, replicas=1)
        if evaluator.illegal(one) is not None:
            return None
        outcome = evaluator.evaluate(one, pool)
        return outcome if isinstance(outcome, Fit) else None

    @staticmethod
    def _fix(
        change: str, detail: str, split: Split, patch: dict[str, Any], *, verified: bool = True
    ) -> Fix:
        """A fix whose patch also insists on the split it was tried with."""
        degrees = {name: getattr(split, name) for name in ("tensor", "pipeline", "data", "expert")}
        whole = {**patch, "constraints": degrees}
        return Fix(change=change, detail=detail, verified=verified, patch=whole)
