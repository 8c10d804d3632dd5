"""The nearest change that makes a rejected split work, tried before it is offered.

Changes that leave what the caller insists on come before those that give it up.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rackfit.catalog.entries import Scheme
from rackfit.engines.rejection import Fix, Rejection
from rackfit.engines.split import Split
from rackfit.planning.additions import MANY, Addition, nodes_to_add
from rackfit.planning.changes import constrained, degrees, more_nodes, shown, with_split
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.finding import Finder
from rackfit.planning.lighter import Lighter, fitting
from rackfit.planning.outcomes import Fit, Miss
from rackfit.planning.pools import Pool
from rackfit.planning.refusals import OF_TENSOR
from rackfit.planning.relaxing import Relaxer

STAGES_TRIED = 16
"""Deeper pipelines tried from the one that memory alone would suggest."""


class Fixer:
    """Finds fixes for the splits one search rejected.

    Args:
        finder: plans changed questions.
        schemes: the catalog's, for other ways to store weights.
        fits: the plans the search found, best first.
        additions: where it found none, the fewest nodes that do, by accelerator.
    """

    def __init__(
        self,
        finder: Finder,
        schemes: Mapping[str, Scheme],
        fits: Sequence[Fit],
        additions: Mapping[str, Addition],
    ) -> None:
        self.finder = finder
        self.evaluator = finder.evaluator
        self.constraints = finder.constraints
        self.fits = fits
        self.additions = additions
        self.lighter = Lighter(finder.evaluator, schemes)
        self.relaxer = Relaxer(finder)

    def for_miss(self, miss: Miss) -> Fix | None:
        """The nearest fix of a split that lacks memory or devices, None where none is known."""
        return next(self._for_miss(miss), None)

    def for_illegal(self, rejection: Rejection) -> Fix | None:
        """The nearest legal degrees, or a scheme or cache type the engine can load."""
        return next(self._for_illegal(rejection), None)

    def _for_miss(self, miss: Miss) -> Iterator[Fix]:
        yield from self._mixed()
        yield from self._lighter(miss)
        if self.constraints.pipeline is None and not self.finder.in_vain:
            yield from self._deeper(miss)
        yield from self._more_nodes(miss)
        yield from self._elsewhere(miss.split, miss.pool)
        if self.constraints.pipeline is not None:
            yield from self._deeper(miss)
        yield from self._larger_allowance(miss)
        yield from self.lighter.more_time(miss)
        yield from self.relaxer.given_up(miss.pool)

    def _lighter(self, miss: Miss) -> Iterator[Fix]:
        yield from self.lighter.more_at_once(miss)
        yield from self.lighter.larger_share(miss)
        if miss.held >= 0:  # weights fit: a smaller cache may do
            yield from self.lighter.smaller_cache(miss)
            yield from self.lighter.fewer_sequences(miss)
            yield from self.lighter.shorter_context(miss)
        yield from self.lighter.smaller_weights(miss)

    def _mixed(self) -> Iterator[Fix]:
        """Stages on two types, where no type alone has room."""
        fit = None if self.fits else self.finder.mixed
        if fit is not None:
            each = fit.split.devices // fit.split.pipeline
            parts = (f"{s.stages * each:,} {s.pool.accelerator.id}" for s in fit.shares)
            detail = f"Over {' and '.join(parts)} {shown(degrees(fit.split))} fits."
            yield constrained({"mix_accelerators": True}, detail)

    def _deeper(self, miss: Miss) -> Iterator[Fix]:
        for split in self._deeper_splits(miss):
            fit = fitting(self.evaluator, split, miss.pool)
            if fit is not None:
                pipeline, devices = fit.split.pipeline, fit.split.devices
                detail = f"PP{pipeline} fits, on {devices} accelerators."
                yield with_split(f"pipeline={pipeline}", detail, fit.split, {})
                return

    def _deeper_splits(self, miss: Miss) -> list[Split]:
        """The same split in more stages, from what memory alone would suggest."""
        pairs = zip(miss.stages.distinct, miss.budgets, strict=True)
        excess = max((s.largest_fixed_bytes + s.sequence_bytes) / max(b, 1) for s, b in pairs)
        pipeline, layers = miss.split.pipeline, len(self.evaluator.question.model.order)
        first = max(pipeline + 1, int(pipeline * excess))
        return [
            msgspec.structs.replace(miss.split, pipeline=stages, replicas=1)
            for stages in range(first, min(first + STAGES_TRIED, layers + 1))
        ]

    def _more_nodes(self, miss: Miss) -> Iterator[Fix]:
        """Nodes for the split as it is or, where the caller does not mind, in more stages.

        Where nothing fits, no fewer can do than the fewest of all splits.
        """
        least = self.additions.get(miss.pool.accelerator.id)
        if least is None and self.finder.in_vain:
            return
        enough = MANY if least is None else least.nodes
        deeper = self._deeper_splits(miss) if self.constraints.pipeline is None else []
        fewest: Addition | None = None
        for split in (miss.split, *deeper):
            below = MANY if fewest is None else fewest.nodes
            fewest = nodes_to_add(self.evaluator, split, miss.pool, below) or fewest
            if fewest is not None and fewest.nodes <= enough:
                break
        if fewest is not None and fewest.nodes:
            yield more_nodes(fewest)

    def _elsewhere(self, split: Split, pool: Pool) -> Iterator[Fix]:
        """The best plan there is; where there is none, what makes one on this pool."""
        name = pool.accelerator.id
        if name in self.additions:
            yield more_nodes(self.additions[name])
        for fit in sorted(self.fits, key=lambda fit: fit.pool.accelerator.id != name)[:1]:
            yield self._as_planned(split, fit, name)

    @staticmethod
    def _as_planned(split: Split, fit: Fit, accelerator: str) -> Fix:
        own, other = degrees(split), degrees(fit.split)
        changed = {name: degree for name, degree in other.items() if degree != own[name]}
        on = fit.pool.accelerator.id
        short = [f"{name}={degree}" for name, degree in changed.items()]
        patch = {}
        if on != accelerator:
            short.append(f"accelerators={on}")
            patch = {"constraints": {"accelerators": [on]}}
        detail = f"{shown(other)} fits, on {fit.split.devices:,} {on}."
        return with_split(",".join(short), detail, fit.split, patch)

    def _larger_allowance(self, miss: Miss) -> Iterator[Fix]:
        if miss.lacks != "allowance":
            return
        question = msgspec.structs.replace(self.evaluator.question, most=None)
        fit = fitting(self.evaluator.asking(question), miss.split, miss.pool)
        if fit is not None:
            allowed = {"max_accelerators": fit.split.devices}
            detail = f"With {fit.split.devices:,} accelerators allowed it fits."
            change = f"max_accelerators={fit.split.devices}"
            yield with_split(change, detail, fit.split, {"constraints": allowed})

    def _for_illegal(self, rejection: Rejection) -> Iterator[Fix]:
        pool = self.finder.pools.get(rejection.accelerator or "")
        if pool is None:
            yield from self.relaxer.unreserved(rejection.accelerator or "")
            yield from self.relaxer.other_accelerators()
            return
        match rejection.code:
            case "scheme-unsupported":
                yield from self._loadable(self.lighter.weights, "quantization", pool)
                yield from self._only_loadable(self.lighter.weights, "quantization")
            case "kv-dtype-unsupported":
                yield from self._loadable(self.lighter.caches, "kv_cache_dtype", pool)
                yield from self._only_loadable(self.lighter.caches, "kv_cache_dtype")
            case "hardware-unsupported":
                yield from self._loadable(self.lighter.caches, "kv_cache_dtype", pool)
                yield from self._loadable(self.lighter.weights, "quantization", pool)
                yield from self._elsewhere(rejection.split, pool)
            case "constraint" | "more-stages-than-layers":
                yield from self.relaxer.contradicted(pool)
            case "degree-unsupported" if self.evaluator.unsupported(pool, rejection.split.context):
                yield from self.relaxer.contradicted(pool)
            case code if code in OF_TENSOR and rejection.split.context == 1:
                yield from self.relaxer.tensors(rejection.split, pool)
            case _:
                yield from self.relaxer.neighbours(rejection.split, pool)
        yield from self.relaxer.given_up(pool)

    def _loadable(
        self, variants: Sequence[tuple[str, Evaluator]], field: str, pool: Pool
    ) -> Iterator[Fix]:
        """Variants that open some split of a pool."""
        for name, evaluator in variants:
            if self.finder.any_with(evaluator, pool) is not None:
                yield self._loaded(field, name, verified=True)

    def _only_loadable(
        self, variants: Sequence[tuple[str, Evaluator]], field: str
    ) -> Iterator[Fix]:
        """The first variant, which opens none."""
        for name, _ in variants[:1]:
            yield self._loaded(field, name, verified=False)

    def _loaded(self, field: str, name: str, *, verified: bool) -> Fix:
        detail = f"{self.evaluator.question.engine.name} takes {name}."
        return Fix(f"{field}={name}", detail, verified=verified, patch={field: name})
