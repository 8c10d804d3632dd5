"""What an infeasible inventory lacks: bytes of the nearest miss, accelerators of each type."""

from collections.abc import Callable, Sequence

from rackfit.planning.degrees import MAX_REPLICA_DEVICES
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints, Shortfall
from rackfit.planning.search import Findings, legal_tensors, splits_of_size


def find_shortfall(
    evaluator: Evaluator,
    pools: Sequence[Pool],
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> Shortfall:
    """Say what is missing: in bytes, and in accelerators of each type on its own."""
    lacking = {
        pool.accelerator.id: _missing(evaluator, pool, constraints, findings, expired)
        for pool in pools
    }
    short = min((miss.short_bytes for _, miss in findings.misses), default=0)
    helped = {name: count for name, count in lacking.items() if count is not None}
    return Shortfall(bytes=short, accelerators=helped)


def _missing(
    evaluator: Evaluator,
    pool: Pool,
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> int | None:
    """Fewest accelerators to add, in whole nodes; None where no number helps.

    Larger and larger replicas are asked how many nodes they lack, until the devices alone
    lack as many as the best so far.
    """
    most = constraints.max_accelerators
    there, each = pool.devices(0), pool.largest_node
    scratch = Findings(limit=1, order=findings.order)
    tensors = list(legal_tensors(evaluator, pool, constraints, scratch))
    fewest: int | None = None
    for size in range(1, min(MAX_REPLICA_DEVICES, most or MAX_REPLICA_DEVICES) + 1):
        if expired() or (fewest is not None and (size - there) / each >= fewest):
            break
        for split in splits_of_size(evaluator, size, tensors, constraints):
            if evaluator.illegal(split) is not None:
                continue
            nodes = evaluator.nodes_to_add(split, pool)
            if nodes is not None and (fewest is None or nodes < fewest):
                fewest = nodes
    return None if fewest is None else fewest * each
