"""What an infeasible inventory lacks: bytes of the nearest miss, accelerators of each type."""

from collections.abc import Callable, Mapping, Sequence

from rackfit.memory.columns import least_bytes
from rackfit.planning.additions import MANY, Addition, nodes_to_add
from rackfit.planning.degrees import MAX_REPLICA_DEVICES
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.outcomes import Miss
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints, Shortfall
from rackfit.planning.search import Findings, legal_tensors, splits_of_size


def find_additions(
    evaluator: Evaluator,
    pools: Sequence[Pool],
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> dict[str, Addition]:
    """The fewest nodes of each type that do on their own; types that no number helps left out."""
    found = {
        pool.accelerator.id: _fewest(evaluator, pool, constraints, findings, expired)
        for pool in pools
    }
    return {name: addition for name, addition in found.items() if addition is not None}


def _fewest(
    evaluator: Evaluator,
    pool: Pool,
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> Addition | None:
    """Ask larger and larger replicas how many nodes they lack.

    Until the devices alone lack as many as the best so far.
    """
    most = min(constraints.max_accelerators or MAX_REPLICA_DEVICES, MAX_REPLICA_DEVICES)
    if least_bytes(evaluator.question.model) > most * pool.most_free:
        return None
    there, each = pool.devices(0), max(pool.new_node[0], 1)
    scratch = Findings(limit=1, order=findings.order)
    tensors = list(legal_tensors(evaluator, pool, constraints, scratch))
    fewest: Addition | None = None
    for size in range(1, most + 1):
        if expired() or (fewest is not None and (size - there) / each >= fewest.nodes):
            break
        for split in splits_of_size(evaluator, size, tensors, constraints):
            if evaluator.illegal(split) is not None:
                continue
            below = MANY if fewest is None else fewest.nodes
            fewest = nodes_to_add(evaluator, split, pool, below) or fewest
    return fewest


def shortfall(
    evaluator: Evaluator, misses: Sequence[Miss], additions: Mapping[str, Addition]
) -> Shortfall:
    """Say what is missing: in bytes, and in accelerators of each type on its own."""
    fits = [addition.fit for addition in additions.values()]
    outcomes = [*misses, *(evaluator.evaluate(fit.split, fit.pool) for fit in fits)]
    short = [outcome.short_bytes for outcome in outcomes if isinstance(outcome, Miss)]
    return Shortfall(
        bytes=min(short, default=0),
        accelerators={
            name: addition.nodes * addition.fit.pool.node_devices
            for name, addition in additions.items()
        },
    )
