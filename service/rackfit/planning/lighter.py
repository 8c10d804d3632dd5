"""Lighter questions: a smaller cache, other weights, a shorter context, fewer sequences."""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.catalog.entries import Scheme
from rackfit.engines.rejection import Fix
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import total
from rackfit.lazy import cached_property
from rackfit.memory.question import gib
from rackfit.memory.reverse import PER_MILLE, Deployment, largest_that, smallest_utilization
from rackfit.memory.stages import UNBOUNDED, sequences_held
from rackfit.planning.changes import with_split
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.outcomes import Fit, Miss, Stages
from rackfit.planning.pools import Pool
from rackfit.planning.refusals import things

CACHES = ("bf16", "fp8", "q8_0", "nvfp4", "q4_0")
SMALLER_SCHEMES = ("fp8", "nvfp4", "awq-int4", "Q4_K_M")
SHORT_OF_ROOM = frozenset({"memory", "devices", "allowance"})
"""What lacks where data ranks that held more would do."""

CONTEXT_STEP = 1024
"""Contexts are offered in whole thousands, as people set them."""


class Lighter:
    """Tries lighter questions on splits that miss.

    Args:
        evaluator: the search's own, for the question as it was asked.
        schemes: the catalog's, for other ways to store weights.
    """

    def __init__(self, evaluator: Evaluator, schemes: Mapping[str, Scheme]) -> None:
        self.evaluator = evaluator
        self.question = evaluator.question
        self.schemes = schemes

    @cached_property
    def caches(self) -> list[tuple[str, Evaluator]]:
        """The model with every other cache the engine can keep, largest first."""
        engine, model = self.question.engine, self.question.model
        return [
            (dtype, self.evaluator.caching(dtype))
            for dtype in CACHES
            if dtype in engine.kv_cache_dtypes and dtype != model.kv_cache_dtype
        ]

    @cached_property
    def weights(self) -> list[tuple[str, Evaluator]]:
        """The model in every smaller scheme the engine loads, largest first."""
        engine, model = self.question.engine, self.question.model
        known = [self.schemes[name] for name in SMALLER_SCHEMES]
        loadable = [scheme for scheme in known if engine.loads(scheme.id, scheme.engines)]
        return [(scheme.id, self._with_model(model.stored_as(scheme))) for scheme in loadable]

    def _with_model(self, model: ServedModel) -> Evaluator:
        return Evaluator(msgspec.structs.replace(self.question, model=model))

    def smaller_cache(self, miss: Miss) -> Iterator[Fix]:
        """The cache in a smaller type."""
        for dtype, evaluator in self.caches:
            fit = fitting(evaluator, miss.split, miss.pool)
            if fit is None:
                continue
            freed = _cache_bytes(miss.stages) - _cache_bytes(fit.stages)
            if freed > 0:
                detail = f"A KV cache in {dtype} frees {gib(freed)} GiB a sequence and rank."
                patch = {"kv_cache_dtype": dtype}
                yield with_split(f"kv_cache_dtype={dtype}", detail, fit.split, patch)

    def fewer_sequences(self, miss: Miss) -> Iterator[Fix]:
        """As many sequences as there is room for."""
        groups = miss.split.pipeline * miss.split.data
        replicas = (self.question.replicas or miss.available // groups) - self.question.spare
        sequences = replicas * miss.split.data * miss.held
        if not 0 < sequences < self.question.sequences:
            return
        fit = self._asking(miss, sequences=sequences)
        if fit is not None:
            detail = f"{sequences:,} of {self.question.sequences:,} sequences fit on what there is."
            patch = {"workload": {"sequences": sequences}}
            yield with_split(f"sequences={sequences}", detail, fit.split, patch)

    def more_at_once(self, miss: Miss) -> Iterator[Fix]:
        """The engine started for as many sequences as there are for a data rank."""
        if miss.lacks != "sequences":
            return
        engine, most = self.question.engine, miss.sequences
        started = type(engine)(
            msgspec.structs.replace(engine.choice, max_sequences=most), engine.device_reserve
        )
        evaluator = Evaluator(msgspec.structs.replace(self.question, engine=started))
        fit = fitting(evaluator, miss.split, miss.pool)
        if fit is not None:
            detail = f"Started for {most:,} sequences a data rank it fits."
            patch = {"engine": {"max_sequences": most}}
            yield with_split(f"max_sequences={most}", detail, fit.split, patch)

    def larger_share(self, miss: Miss) -> Iterator[Fix]:
        """The smallest share of each device, in whole hundredths, with which there is room."""
        now = self.question.engine
        if not (now.takes_utilization and self._full(miss)):
            return
        most = self._largest_share(miss)
        found = smallest_utilization(self._deployment(miss), most)
        hundredths = -(-(found or 0) * 100 // PER_MILLE)
        if not 0 < hundredths * PER_MILLE <= most * 100:
            return
        share = hundredths / 100
        question = msgspec.structs.replace(self.question, engine=now.given(share))
        fit = fitting(Evaluator(question, self.evaluator.sizing), miss.split, miss.pool)
        if fit is not None:
            before = now.utilization(self.question.start(miss.split, miss.pool), miss.least_free)
            detail = f"Given {share:g} of each device instead of {before:g}, the engine has room."
            patch = {"engine": {"gpu_memory_utilization": share}}
            yield with_split(f"gpu_memory_utilization={share:g}", detail, fit.split, patch)

    def _full(self, miss: Miss) -> bool:
        """Tell whether it is memory that sets how few sequences a data rank holds."""
        started = self.question.engine.choice.max_sequences or UNBOUNDED
        room = sequences_held(miss.stages.distinct, miss.budgets)
        return miss.lacks in SHORT_OF_ROOM and room == miss.held < min(self._each(miss), started)

    def _each(self, miss: Miss) -> int:
        """Sequences a data rank must hold on what there is; none can hold any where 0."""
        if miss.lacks == "memory":
            return miss.sequences
        split, spare = miss.split, self.question.spare
        replicas = miss.available // (split.pipeline * split.data) - spare
        return -(-self.question.sequences // (replicas * split.data)) if replicas > 0 else 0

    def _largest_share(self, miss: Miss) -> int:
        """Per mille of a device that an engine is offered.

        All but half of what is kept free where no engine is named, since a named one counts its
        own activations, and but what it takes beside its budget.
        """
        question, split = self.question, miss.split
        limits = question.engine.limits(miss.pool.accelerator, question.tokens)
        beside = total(question.engine.unbudgeted_terms(question.model, split, limits))
        usable = miss.pool.accelerator.usable_bytes
        left = max(min(usable, miss.least_free) - beside, 0)
        safe = 1 - question.engine.device_reserve / 2
        return int(min(round(safe * PER_MILLE), left * PER_MILLE // usable))

    def _deployment(self, miss: Miss) -> Deployment:
        """The miss as one that must hold its sequences on what there is."""
        accelerator, tokens = miss.pool.accelerator, self.question.tokens
        layers, engine = len(self.question.model.order), self.question.engine
        return Deployment(
            sizes=self.evaluator.sizing.prepared(accelerator, tokens).sizes(miss.split),
            split=miss.split,
            partition=engine.partition(layers, miss.split.pipeline),
            stages=miss.stages.distinct,
            accelerator=accelerator,
            sequences=self._each(miss),
            context_tokens=tokens,
            free=miss.least_free,
        )

    def more_time(self, miss: Miss) -> Iterator[Fix]:
        """The shortest times that so many sequences, doubled until there is room, are served in."""
        times, sequences = self.question.times, miss.sequences
        if times is None or miss.lacks not in {"time", "devices"} or miss.pace is None:
            return
        while sequences <= -(-self.question.sequences // miss.split.data):
            estimate = miss.pace.estimate(miss.split, miss.pool.accelerator, sequences)
            if estimate is None:
                return
            longer = times.stretched(estimate)
            question = msgspec.structs.replace(self.question, times=longer)
            fit = fitting(self.evaluator.asking(question), miss.split, miss.pool)
            if fit is not None:
                change = {n: v for n, v in longer.asked.items() if v != times.asked[n]}
                yield with_split(
                    ",".join(f"{name}={value:g}" for name, value in change.items()),
                    f"In that time it serves {things(sequences, 'sequence')} a data rank.",
                    fit.split,
                    {"constraints": change},
                )
                return
            sequences *= 2

    def shorter_context(self, miss: Miss) -> Iterator[Fix]:
        """The longest context that fits, in whole thousands."""
        least = max(-(-self.question.request_tokens // CONTEXT_STEP), 1)
        most = -(-self.question.tokens // CONTEXT_STEP) - 1
        found: dict[int, Fit] = {}

        def fits(steps: int) -> bool:
            fit = self._asking(miss, tokens=steps * CONTEXT_STEP)
            if fit is not None:
                found[steps] = fit
            return fit is not None

        longest = largest_that(most, fits, self._room(miss) // CONTEXT_STEP) if most > 0 else 0
        if longest >= least:
            tokens = longest * CONTEXT_STEP
            detail = f"A context of {tokens:,} tokens fits."
            patch = {"workload": {"context_tokens": tokens}}
            yield with_split(f"context_tokens={tokens}", detail, found[longest].split, patch)

    def _room(self, miss: Miss) -> int:
        """About how many tokens of each sequence there is room for."""
        rooms = (
            (budget - stage.largest_fixed_bytes)
            * self.question.tokens
            // (miss.sequences * stage.sequence_bytes)
            for stage, budget in zip(miss.stages.distinct, miss.budgets, strict=True)
            if stage.sequence_bytes
        )
        return min(rooms, default=self.question.tokens)

    def smaller_weights(self, miss: Miss) -> Iterator[Fix]:
        """The weights in a smaller scheme."""
        now = self.question.model.weights_bytes
        for name, evaluator in self.weights:
            then = evaluator.question.model.weights_bytes
            fit = fitting(evaluator, miss.split, miss.pool) if then < now else None
            if fit is not None:
                detail = f"Weights in {name} take {gib(then)} GiB in all instead of {gib(now)}."
                yield with_split(f"quantization={name}", detail, fit.split, {"quantization": name})

    def _asking(self, miss: Miss, **demand: int) -> Fit | None:
        question = msgspec.structs.replace(self.question, **demand)
        return fitting(self.evaluator.asking(question), miss.split, miss.pool)


def fitting(evaluator: Evaluator, split: Split, pool: Pool, nodes: int = 0) -> Fit | None:
    """The fit of a split that is legal and fits a pool, with replicas as they are needed."""
    one = msgspec.structs.replace(split, replicas=1)
    if evaluator.bounds.least_short(one, pool) > 0:
        return None
    if (evaluator.unsupported(pool, one.context) or evaluator.illegal(one)) is not None:
        return None
    outcome = evaluator.evaluate(one, pool, nodes)
    return outcome if isinstance(outcome, Fit) else None


def _cache_bytes(stages: Stages) -> int:
    return max(stage.sequence_bytes for stage in stages.distinct)
