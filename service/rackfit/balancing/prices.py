"""The prices of a proof: the dual of a linear program over how often each count is chosen.

A replica above T - t is large and one below t small; RULES and `certificate` say what large
ones need. A second kind of row says it of experts: one with large replicas needs some expert
with a small one, however many replicas that takes. Without it the program would give a
hundredth of an expert a hundred replicas.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rackfit.balancing.task import Bools, Floats, Ints, Task

RULES: Mapping[int, tuple[tuple[int, int], ...]] = {2: ((1, 1),), 3: ((1, 2), (2, 1))}
"""By slots: how many replicas (first) below t over what (second) one above T - t needs."""

THRESHOLDS = 96
"""Values of t, even between 0 and T / 2."""

NOISE = 1e-7

_CHOICES = 3
"""Counts an expert may choose from, up from the fewest that keep its replicas within T."""

_SMALL = 30
"""How many of the least loaded experts may choose any count that leaves enough for the others."""

_NATURAL = 1.5
"""Thresholds up to this many least loads get rows of the second kind."""


class Prices(NamedTuple):
    """What each rule costs for one more replica above a threshold without its small ones.

    Attributes:
        replica: [rules * THRESHOLDS].
        expert: of the rows of the second kind, [experts, THRESHOLDS].
    """

    replica: Floats
    expert: Floats


class Verdict(NamedTuple):
    """Prices that prove a time is out of reach, or None; and counts that come near it.

    Those are the program's shares made whole, [experts]; None where a time is far below reach, or
    the program was not solved.
    """

    prices: Prices | None
    counts: Ints | None


class _Solution(NamedTuple):
    """The least largest excess, the prices of the rows, and the share of each choice."""

    excess: float
    dual: Floats
    share: Floats


class _Choices(NamedTuple):
    """Counts to choose from, a column each: whose, how many, and their replicas' load."""

    expert: Ints
    replicas: Ints
    load: Floats


def judge(load: Floats, task: Task, time: float) -> Verdict:
    """Look for prices that prove loads [experts] cannot stay within `time`."""
    rules, slots = RULES[task.slots], task.ranks * task.slots
    fewest = np.maximum(1, np.ceil(load / time - NOISE)).astype(np.int64)
    spare = slots - int(fewest.sum())
    expert_prices = np.zeros((len(load), THRESHOLDS))
    if spare < 0:
        return Verdict(Prices(np.zeros(len(rules) * THRESHOLDS), expert_prices), None)
    choices = _choices(load, fewest, spare)
    large, _ = _classes(choices.load, time, 1)
    parts = [
        (needs * large - 1.0 * _classes(choices.load, time, over)[1]) * choices.replicas[:, None]
        for needs, over in rules
    ]
    row, at = _leads(load, large, time)
    _, small = _classes(choices.load, time, task.slots - 1)
    own = (choices.expert[:, None] == choices.expert[row]) & large[:, at]
    excess = np.concatenate((*parts, own * 1.0 - small[:, at]), axis=1)
    solution = _solve(excess, choices, len(rules) * THRESHOLDS, len(load), slots)
    counts = _whole(choices, solution.share, len(load), slots)
    if solution.excess <= NOISE:
        return Verdict(None, counts)
    replica_prices, lead_prices = np.split(solution.dual, [len(rules) * THRESHOLDS])
    np.add.at(expert_prices, (choices.expert[row], at), lead_prices)
    return Verdict(Prices(replica_prices, expert_prices), counts)


def _whole(choices: _Choices, share: Floats, experts: int, slots: int) -> Ints | None:
    """Round the counts chosen in shares, the largest remainders up, until the slots are full.

    None where they are none at all: a solver that gave up leaves shares that keep no row.
    """
    mean = np.bincount(choices.expert, share * choices.replicas, experts)
    counts = np.floor(mean + NOISE).astype(np.int64)
    left = slots - int(counts.sum())
    if counts.min() < 1 or not 0 <= left <= experts:
        return None
    largest = np.argsort(counts - mean, kind="stable")
    counts[largest[:left]] += 1
    return np.asarray(counts)


def _choices(load: Floats, fewest: Ints, spare: int) -> _Choices:
    """List the counts that experts may choose from."""
    several = np.full(len(load), min(_CHOICES, spare + 1))
    several[np.argsort(load, kind="stable")[:_SMALL]] = spare + 1
    expert = np.repeat(np.arange(len(load)), several)
    more = np.arange(len(expert)) - np.repeat(several.cumsum() - several, several)
    count = fewest[expert] + more
    return _Choices(expert, count, load[expert] / count)


def _classes(load: Floats, time: float, over: int) -> tuple[Bools, Bools]:
    """Tell which replicas are large, and small over `over`, at each threshold: [columns, t]."""
    t = np.arange(1, THRESHOLDS + 1) * (time / 2 / THRESHOLDS)
    return load[:, None] > time - t, load[:, None] * over < t


def _leads(load: Floats, large: Bools, time: float) -> tuple[Ints, Ints]:
    """Return the columns that get a row of the second kind, and at which threshold."""
    first = np.where(large.any(axis=1), large.argmax(axis=1), THRESHOLDS)
    below = _NATURAL * load.min() * (2 * THRESHOLDS / time)
    column = np.flatnonzero((first < THRESHOLDS) & (first < below))
    return column, first[column]


def _solve(excess: Floats, choices: _Choices, rules: int, experts: int, slots: int) -> _Solution:
    """Choose counts in shares so that the largest excess is least.

    Columns: a share for each choice, then the excess, which the first `rules` rows are held
    to. Then the rows of the second kind, the slots, and a sum of 1 for each expert.
    """
    import highspy  # noqa: PLC0415 - a third of a second that only proofs need

    columns, rows = excess.shape
    share, row = np.nonzero(excess)
    every = np.arange(columns)
    column = np.concatenate((share, every, every, np.full(rules, columns)))
    place = np.concatenate(
        (row, np.full(columns, rows), rows + 1 + choices.expert, np.arange(rules))
    )
    value = np.concatenate(
        (excess[share, row], choices.replicas, np.ones(columns), np.full(rules, -1.0))
    )
    order = np.argsort(column, kind="stable")
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = columns + 1, rows + 1 + experts
    program.col_cost_ = np.append(np.zeros(columns), 1.0)
    program.col_lower_ = np.append(np.zeros(columns), -1e6)
    program.col_upper_ = np.full(columns + 1, highspy.kHighsInf)
    equal = np.append(float(slots), np.ones(experts))
    program.row_lower_ = np.append(np.full(rows, -highspy.kHighsInf), equal)
    program.row_upper_ = np.append(np.zeros(rows), equal)
    sizes = np.bincount(column, minlength=columns + 1)
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = np.append(0, sizes.cumsum()).astype(np.int32)
    program.a_matrix_.index_ = place[order].astype(np.int32)
    program.a_matrix_.value_ = value[order]
    solver = highspy._core._Highs()  # noqa: SLF001 - Highs itself prints a banner when made
    solver.setOptionValue("output_flag", False)  # noqa: FBT003 - its own signature
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("presolve", "off")  # takes twice the time it saves
    solver.passModel(program)
    solver.run()
    solution = solver.getSolution()
    return _Solution(
        float(solver.getInfo().objective_function_value),
        np.maximum(-np.asarray(solution.row_dual)[:rows], 0),
        np.asarray(solution.col_value)[:columns],
    )
