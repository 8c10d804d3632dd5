"""How many nodes a pool lacks before a split fits it."""

import msgspec

from rackfit.engines.split import Split
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.outcomes import Fit, Miss
from rackfit.planning.pools import Pool

MANY = 1 << 40
"""More nodes than any split can use."""


class Addition(msgspec.Struct, frozen=True):
    """Nodes to add to a pool, all free and as large as its largest, and the fit on them."""

    nodes: int
    fit: Fit


def nodes_to_add(
    evaluator: Evaluator, split: Split, pool: Pool, below: int = MANY
) -> Addition | None:
    """Fewest whole nodes to add to a pool before `split` fits; None if no number does.

    Nor if it takes `below` or more.
    """
    cells_a_node = pool.new_node[0] // split.cell
    if not cells_a_node or evaluator.bounds.least_short(split, pool) > 0:
        return None
    if evaluator.bounds.surely_short(split, pool) > 0:
        return None
    fit = evaluator.evaluate(split, pool, MANY)
    if not isinstance(fit, Fit):
        return None
    lacking = fit.cells - pool.offers(split.cell).cells[-1]
    fewest = max(-(-lacking // cells_a_node), 0)
    if fewest >= below:
        return None
    outcome = evaluator.evaluate(split, pool, fewest)
    if isinstance(outcome, Miss):
        each = -(-split.pipeline * split.data // cells_a_node)
        most = fit.split.replicas * each + 1
        fewest = _bisected(evaluator, split, pool, fewest + 1, most)
        outcome = evaluator.evaluate(split, pool, fewest)
    return Addition(fewest, outcome) if isinstance(outcome, Fit) and fewest < below else None


def _bisected(evaluator: Evaluator, split: Split, pool: Pool, fewest: int, most: int) -> int:
    """The least number of nodes that does, from `fewest` to `most`, which does."""
    while fewest < most:
        middle = (fewest + most) // 2
        fits = isinstance(evaluator.evaluate(split, pool, middle), Fit)
        fewest, most = (fewest, middle) if fits else (middle + 1, most)
    return fewest
