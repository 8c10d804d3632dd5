"""Searching anew, for changes of the question: is there any plan then?"""

from collections.abc import Callable, Mapping

import msgspec

from rackfit.lazy import cached_property
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.mixing import search_mixed
from rackfit.planning.neighbours import SHORT
from rackfit.planning.outcomes import Fit
from rackfit.planning.pools import Pool, Resolve, read_pools
from rackfit.planning.question import Constraints, PlanRequest
from rackfit.planning.search import Findings, search_pool
from rackfit.planning.times import Times

MIXED = 2
"""Accelerator types of a pipeline over several."""

DEMANDS = (
    "replicas",
    "max_accelerators",
    "max_seconds_to_first_token",
    "max_seconds_per_output_token",
    "node_loss",
    "placement",
)
"""Constraints that are asked of every split, unlike those that say which splits are tried."""


class Finder:
    """Plans changed questions, each once.

    Args:
        evaluator: the search's own, for the question as it was asked.
        pools: what the caller allows to be used, by accelerator id.
        others: what else the inventory has.
        request: the caller's.
        resolve: tells the accelerator of a name.
        findings: of the question as it was asked.
        expired: tells whether the time is over.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        pools: Mapping[str, Pool],
        others: Mapping[str, Pool],
        request: PlanRequest,
        resolve: Resolve,
        findings: Findings,
        expired: Callable[[], bool],
    ) -> None:
        self.evaluator = evaluator
        self.pools = pools
        self.others = others
        self.request = request
        self.constraints = request.constraints
        self._resolve = resolve
        self.order = findings.order
        self.expired = expired
        self.fits = findings.fits
        self.in_vain = findings.complete and not self.fits
        self._known: dict[tuple[bytes, str | None, bool], Fit | None] = {}

    @cached_property
    def unreserved(self) -> Mapping[str, Pool]:
        """All pools with what is reserved, by accelerator id; none where nothing is."""
        if self.constraints.reserved is None:
            return {}
        pools = read_pools(self.request.inventory, self._resolve).pools
        return {pool.accelerator.id: pool for pool in pools}

    def has_any(self, constraints: Constraints, pool: Pool) -> bool:
        """Tell whether there is any plan under other constraints on a pool."""
        return self._known_or_found(constraints, pool, any_fit=True) is not None

    def best(self, constraints: Constraints, pool: Pool | None = None) -> Fit | None:
        """The smallest plan under other constraints, on one pool or any."""
        return self._known_or_found(constraints, pool, any_fit=False)

    def _known_or_found(
        self, constraints: Constraints, pool: Pool | None, *, any_fit: bool
    ) -> Fit | None:
        name = None if pool is None else pool.accelerator.id
        key = (msgspec.json.encode(constraints), name, any_fit)
        if key not in self._known:
            self._known[key] = self._found(constraints, pool, any_fit=any_fit)
        return self._known[key]

    def _found(self, constraints: Constraints, pool: Pool | None, *, any_fit: bool) -> Fit | None:
        narrows = self._narrows(constraints)
        kept = self._kept(constraints, pool) if narrows else None
        if kept is not None or (narrows and self.in_vain):
            return kept
        return self._search(constraints, pool, any_fit=any_fit)

    def _kept(self, constraints: Constraints, pool: Pool | None) -> Fit | None:
        """A plan the search kept that has the degrees insisted on."""
        degrees = {name: getattr(constraints, name) for name in SHORT}
        for fit in self.fits:
            alike = all(d in (None, getattr(fit.split, name)) for name, d in degrees.items())
            if alike and (pool is None or fit.pool is pool):
                return fit
        return None

    @cached_property
    def mixed(self) -> Fit | None:
        """Any plan with stages on two types, where the caller has not asked for any."""
        if self.constraints.mix_accelerators or len(self.pools) < MIXED:
            return None
        findings, pools = self.nothing_yet(any_fit=True), list(self.pools.values())
        search_mixed(self.evaluator, pools, self.constraints, findings, self.expired)
        return next(iter(findings.fits), None)

    def nothing_yet(self, *, any_fit: bool = False) -> Findings:
        """What a search for the smallest plan, or any, begins with."""
        order = msgspec.structs.replace(self.order, objective="fewest-accelerators", second=None)
        return Findings(limit=1, order=order, any_fit=any_fit)

    def any_with(self, evaluator: Evaluator, pool: Pool) -> Fit | None:
        """A plan of a changed model under the caller's constraints."""
        return self._searched(evaluator, self.constraints, pool, any_fit=True)

    def _narrows(self, constraints: Constraints) -> bool:
        """Tell whether constraints only add degrees to the caller's."""
        pairs = (
            (getattr(self.constraints, name), getattr(constraints, name))
            for name in constraints.__struct_fields__
        )
        return all(callers in (None, other) for callers, other in pairs)

    def _search(self, constraints: Constraints, pool: Pool | None, *, any_fit: bool) -> Fit | None:
        if all(getattr(self.constraints, n) == getattr(constraints, n) for n in DEMANDS):
            return self._searched(self.evaluator, constraints, pool, any_fit=any_fit)
        question = msgspec.structs.replace(
            self.evaluator.question,
            replicas=constraints.replicas,
            most=constraints.max_accelerators,
            times=self._times(constraints),
            node_loss=constraints.node_loss,
            apart=constraints.placement == "spread",
        )
        asking = self.evaluator.asking(question)
        return self._searched(asking, constraints, pool, any_fit=any_fit)

    def _times(self, constraints: Constraints) -> Times | None:
        """The times that are left to keep within."""
        asked = self.evaluator.question.times
        first = constraints.max_seconds_to_first_token
        each = constraints.max_seconds_per_output_token
        if asked is None or (first is None and each is None):
            return None
        return msgspec.structs.replace(asked, first=first, each=each)

    def _searched(
        self, evaluator: Evaluator, constraints: Constraints, pool: Pool | None, *, any_fit: bool
    ) -> Fit | None:
        findings = self.nothing_yet(any_fit=any_fit)
        for each in self.pools.values() if pool is None else (pool,):
            search_pool(evaluator, each, constraints, findings, self.expired)
        return next(iter(findings.fits), None)
