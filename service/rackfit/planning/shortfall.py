"""What an infeasible inventory lacks: bytes of the nearest miss, accelerators of each type."""

from collections.abc import Callable, Sequence

from rackfit.planning.evaluation import Evaluator, Fit
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints, Shortfall
from rackfit.planning.ranking import Order
from rackfit.planning.search import Findings, search_pool

LARGEST_ADDITIONS = (1 << 10, 1 << 14, 1 << 18)
"""Devices added to see whether any number of them would do, fewest first."""


def find_shortfall(
    evaluator: Evaluator,
    pools: Sequence[Pool],
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> Shortfall:
    """Say what is missing: in bytes, and in accelerators of each type on its own."""
    lacking = {
        pool.accelerator.id: _missing(evaluator, pool, constraints, findings.order, expired)
        for pool in pools
    }
    short = min((miss.short_bytes for _, miss in findings.misses), default=0)
    helped = {name: count for name, count in lacking.items() if count is not None}
    return Shortfall(bytes=short, accelerators=helped)


def _missing(
    evaluator: Evaluator,
    pool: Pool,
    constraints: Constraints,
    order: Order,
    expired: Callable[[], bool],
) -> int | None:
    """Fewest accelerators to add, in whole nodes; None where no number helps."""
    size = pool.largest_node

    def fits_with(nodes: int) -> Fit | None:
        findings = Findings(limit=1, order=order)
        search_pool(evaluator, pool.with_more(nodes), constraints, findings, expired)
        return findings.fits[0] if findings.fits else None

    enough = next((f for d in LARGEST_ADDITIONS if (f := fits_with(-(-d // size)))), None)
    if enough is None:
        return None
    low, high = 0, -(-enough.split.devices // size)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits_with(middle) else (middle, high)
    return high * size
