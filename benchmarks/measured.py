"""What a run brings home: figures round by round, and their ratios to a unit's."""

import statistics
from collections.abc import Sequence

import msgspec

Figures = dict[str, float]
"""What one round measured, by name: times in seconds, rates in requests per second."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measure over all rounds.

    `units` names the measures it is compared with, in the same rounds. `notes` are whole
    numbers that explain it: bytes, splits.
    """

    name: str
    units: tuple[str, ...] = ()
    rounds: tuple[Figures, ...]
    notes: dict[str, int] = {}


class Ratio(msgspec.Struct, frozen=True):
    """One figure of a measure over the same figure of its unit: over rounds, in the middle.

    `low` and `high` are the least and the greatest of the rounds' own ratios; half of them are
    within `spread` of the median, which is a share of it.
    """

    median: float
    spread: float
    low: float
    high: float


class Comparison(msgspec.Struct, frozen=True):
    """A measure beside one of its units: a ratio for each figure both have."""

    name: str
    unit: str
    ratios: dict[str, Ratio]


def compare(measured: Sequence[Measured]) -> list[Comparison]:
    """Compare each measure with each of its units."""
    by_name = {each.name: each for each in measured}
    return [
        Comparison(each.name, unit, _ratios(each, by_name[unit]))
        for each in measured
        for unit in each.units
    ]


def _ratios(measure: Measured, unit: Measured) -> dict[str, Ratio]:
    pairs = list(zip(measure.rounds, unit.rounds, strict=True))
    common = [name for name in measure.rounds[0] if name in unit.rounds[0]]
    return {name: ratio([mine[name] / its[name] for mine, its in pairs]) for name in common}


def ratio(each_round: Sequence[float]) -> Ratio:
    """Summarise the ratios of the rounds.

    A round's two figures were taken moments apart, so what slows the machine down for longer
    slows both and is gone from their ratio; the median drops what hit only one of them.
    """
    median = statistics.median(each_round)
    off = statistics.median(abs(one - median) for one in each_round)
    return Ratio(median, off / median, min(each_round), max(each_round))
