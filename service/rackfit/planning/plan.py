"""`POST /v1/plans`: from a request to ranked plans, and why not for the rest."""

from collections.abc import Callable, Sequence
from itertools import islice, zip_longest

import msgspec

from rackfit.catalog import Catalog
from rackfit.engines.rejection import Rejection
from rackfit.lazy import cached_property
from rackfit.memory.refusals import check_options
from rackfit.memory.resolve import check_context, resolve_request
from rackfit.performance.estimate import Speeds
from rackfit.performance.tabled import Tables
from rackfit.planning.additions import Addition
from rackfit.planning.asked import Question
from rackfit.planning.checks import check_disaggregated
from rackfit.planning.disaggregating import Disaggregator, Found
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.expert_loads import NOT_PLACED, ExpertLoads, read_loads
from rackfit.planning.finding import Finder
from rackfit.planning.fixes import Fixer
from rackfit.planning.launching import check_names
from rackfit.planning.mixing import search_mixed
from rackfit.planning.outcomes import Fit, Miss
from rackfit.planning.placement import settled
from rackfit.planning.pools import Pool, read_pools
from rackfit.planning.prices import read_prices
from rackfit.planning.question import Disaggregated, Plan, PlanAnswer, PlanRequest
from rackfit.planning.ranking import Order
from rackfit.planning.refusals import all_reserved, miss_rejection, no_such_accelerators
from rackfit.planning.reserving import NOTHING
from rackfit.planning.search import Findings, search_pool
from rackfit.planning.shortfall import find_additions, shortfall
from rackfit.planning.sizing import Sizing
from rackfit.planning.telling import Told, as_plan
from rackfit.planning.times import Times
from rackfit.planning.timing import LOOKED_UP, SPEEDS, Timing, of_two_kinds_told, overruns


class Subject(msgspec.Struct, frozen=True):
    """A model under an engine, with the sizes of its splits that are known so far."""

    sizing: Sizing
    warnings: tuple[str, ...]


def subject(request: PlanRequest, catalog: Catalog, device_reserve: float) -> Subject:
    """Read what a request is about.

    Raises:
        InvalidInput: there is no such model, or it cannot be served so.
    """
    engine, resolved = resolve_request(request, catalog, device_reserve)
    check_context(request.workload, resolved.model.architecture)
    check_options(resolved.model, engine)
    return Subject(Sizing(resolved.model, engine), (*resolved.warnings, *engine.warnings()))


def plan(
    request: PlanRequest,
    catalog: Catalog,
    *,
    device_reserve: float,
    expired: Callable[[], bool],
    tables: Tables | None = None,
) -> PlanAnswer:
    """Find the best splits of a model on an inventory.

    Args:
        request: the model, what it serves, the inventory and what the caller insists on.
        catalog: models, accelerators and schemes.
        device_reserve: share of each device kept free where no engine is named.
        expired: tells whether the time for this search is over; the best so far is returned.
        tables: of measured kernels, for the speeds of plans that they cover.

    Raises:
        InvalidInput: the request contradicts the catalog or itself.
    """
    about = subject(request, catalog, device_reserve)
    search = searched(request, about, catalog, expired, tables)
    answer = search.answer(search.timing(tables))
    mixed = of_two_kinds_told(answer, request.objective)
    warnings = (*answer.warnings, *mixed, *overruns(answer, request.constraints))
    return msgspec.structs.replace(answer, warnings=warnings)


def searched(
    request: PlanRequest,
    about: Subject,
    catalog: Catalog,
    expired: Callable[[], bool],
    tables: Tables | None,
) -> "PlanSearch":
    """Search for a model that is read already, and may have been searched for before.

    Where `tables` may change the order, more plans are kept than are told.

    Raises:
        InvalidInput: the request contradicts the catalog or itself.
    """
    model, engine = about.sizing.model, about.sizing.engine
    if request.disaggregate:
        check_disaggregated(request, engine)
    reserved = request.constraints.reserved or NOTHING
    pools = read_pools(request.inventory, catalog.accelerator, reserved)
    if request.launch is not None:
        check_names(request.launch, request.inventory.nodes)
    workload = request.workload
    loads = read_loads(request.expert_loads, model, engine, expired)
    question = Question(
        model=model,
        engine=engine,
        tokens=workload.context_tokens,
        sequences=workload.sequences,
        replicas=request.constraints.replicas,
        most=request.constraints.max_accelerators,
        request_tokens=max(workload.request_tokens, 1),
        times=Times.of(request, catalog.efficiencies, loads.excess if loads else None),
        node_loss=request.constraints.node_loss,
        apart=request.constraints.placement == "spread",
    )
    search = PlanSearch(request, catalog, Evaluator(question, about.sizing), expired, loads)
    placed = () if loads is None or request.launch is None else (NOT_PLACED,)
    search.warnings = (*about.warnings, *pools.warnings, *placed)
    if tables is not None and request.objective in SPEEDS:
        search.findings.limit = LOOKED_UP * request.limit
    search.run(pools.pools)
    return search


class PlanSearch:
    """One request's search and the answer made of its findings."""

    def __init__(
        self,
        request: PlanRequest,
        catalog: Catalog,
        evaluator: Evaluator,
        expired: Callable[[], bool],
        loads: ExpertLoads | None,
    ) -> None:
        self.request = request
        self.loads = loads
        self.catalog = catalog
        self.evaluator = evaluator
        self.expired = expired
        asked = request.objective
        first, second = (asked, None) if isinstance(asked, str) else asked
        order = Order(
            objective=first,
            second=second,
            speeds=Speeds(
                evaluator.question.model,
                evaluator.question.engine,
                catalog.efficiencies,
                request.workload.context_tokens,
                loads.excess if loads else None,
            ),
            workload=request.workload,
            speculative_tokens=evaluator.question.engine.choice.speculative_tokens,
            prices=read_prices(request.prices, catalog),
        )
        self.findings = Findings(
            limit=request.limit, rejection_limit=request.rejection_limit, order=order
        )
        self.warnings: tuple[str, ...] = ()
        self.tried = 0
        self.pools: dict[str, Pool] = {}
        self.others: dict[str, Pool] = {}

    def run(self, pools: Sequence[Pool]) -> None:
        """Search every pool the constraints allow."""
        wanted = self._wanted_types()
        for pool in pools:
            if not wanted or pool.accelerator.id in wanted:
                self.pools[pool.accelerator.id] = pool
            elif pool.devices(0):
                self.others[pool.accelerator.id] = pool
        if not self.pools:
            self.findings.add_illegal(no_such_accelerators(), None)
        for pool in [pool for pool in self.pools.values() if not pool.devices(0)]:
            del self.pools[pool.accelerator.id]
            self.findings.add_illegal(all_reserved(pool), pool.accelerator.id)
        for pool in self.pools.values():
            search_pool(self.evaluator, pool, self.request.constraints, self.findings, self.expired)
        self._mix()
        self.tried = self.evaluator.evaluated + len(self.findings.passed_over)
        self.findings.catch_up(self.evaluator, self.expired)

    def _mix(self) -> None:
        """Search pipelines over two types, if the caller wants any."""
        constraints = self.request.constraints
        if constraints.mix_accelerators and len(self.pools) > 1:
            pools = list(self.pools.values())
            search_mixed(self.evaluator, pools, constraints, self.findings, self.expired)

    def _wanted_types(self) -> set[str]:
        names = self.request.constraints.accelerators or []
        places = (f"/constraints/accelerators/{number}" for number in range(len(names)))
        return {part.id for part, _ in map(self.catalog.accelerator, names, places)}

    def answer(self, timing: Timing) -> PlanAnswer:
        """Turn the findings into an answer."""
        rejections = self._rejections()
        pairs = self._pairs(timing) if self.request.disaggregate else None
        found = None if pairs is None else pairs.search()  # before tables have taken any time
        plans = self.plans(timing)
        apart = () if pairs is None or found is None else self._disaggregated(pairs, found)
        misses = [miss for _, miss in self.findings.misses]
        return PlanAnswer(
            feasible=bool(plans),
            complete=self.findings.complete and not self.expired(),
            plans=plans,
            disaggregated=apart,
            rejections=tuple(rejections),
            rejections_total=self.findings.rejected,
            splits_evaluated=self.tried,
            shortfall=None if plans else shortfall(self.evaluator, misses, self._additions),
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def timing(self, tables: Tables | None) -> Timing:
        """The speeds of what is found."""
        measured = self.loads.excess if self.loads else None
        question = self.evaluator.question
        return Timing.of(self.findings.order, question, tables, measured, self.expired)

    def plans(self, timing: Timing) -> tuple[Plan, ...]:
        """The plans to tell, best first."""
        fits = timing.ordered(self.findings.fits)[: self.request.limit]
        return tuple(self._plan(fit, timing) for fit in fits)

    def _plan(self, fit: Fit, timing: Timing) -> Plan:
        told = Told(
            question=self.evaluator.question,
            nodes=self.request.inventory.nodes,
            sequences=self.request.workload.sequences,
            options=self.request.launch,
            performance=timing.performance(fit),
            loads=self.loads,
        )
        return as_plan(settled(fit, told.question.engine), told)

    def _pairs(self, timing: Timing) -> Disaggregator:
        """What searches for plans of two kinds of replicas."""
        return Disaggregator(
            self.request,
            self.evaluator,
            self.findings.order,
            self.pools,
            self.expired,
            loads=self.loads,
            tabled=timing.speeds,
        )

    def _disaggregated(self, pairs: Disaggregator, found: Found) -> tuple[Disaggregated, ...]:
        """Plans of two kinds of replicas."""
        told = tuple(map(pairs.told, pairs.best(found)))
        if pairs.complete:
            self.warnings += tuple(pairs.unpaired.warnings(any_found=bool(told)))
        self.findings.complete = self.findings.complete and pairs.complete
        return told

    def _rejections(self) -> list[Rejection]:
        """Broken rules and near misses by turns, so that neither crowds out the other."""
        finder = Finder(
            self.evaluator,
            pools=self.pools,
            others=self.others,
            request=self.request,
            resolve=self.catalog.accelerator,
            findings=self.findings,
            expired=self.expired,
        )
        fixer = Fixer(finder, self.catalog.schemes, self.findings.fits, self._additions)
        missed = (miss for _, miss in self.findings.misses)
        pairs = zip_longest(missed, self.findings.refused)
        by_turns = (one for pair in pairs for one in pair if one is not None)
        kept = islice(by_turns, self.request.rejection_limit)
        return [self._with_fix(fixer, rejected) for rejected in kept]

    @cached_property
    def _additions(self) -> dict[str, Addition]:
        """Where nothing fits: the nodes that would do, by accelerator."""
        if self.findings.fits:
            return {}
        pools = list(self.pools.values())
        constraints = self.request.constraints
        return find_additions(self.evaluator, pools, constraints, self.findings, self.expired)

    def _with_fix(self, fixer: Fixer, rejected: Miss | Rejection) -> Rejection:
        late = self.expired()
        if isinstance(rejected, Miss):
            fix = None if late else fixer.for_miss(rejected)
            return msgspec.structs.replace(miss_rejection(rejected), nearest_fix=fix)
        fix = None if late else fixer.for_illegal(rejected)
        return msgspec.structs.replace(rejected, nearest_fix=fix)
