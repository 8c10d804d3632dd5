"""The figures as a table for people and as JSON for programs."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks.measured import Comparison, Measured, Ratio, compare
from rackfit import __version__

COLUMNS = {
    "p50": "p50",
    "p99": "p99",
    "requests_per_second": "requests/s",
    "cpu_seconds": "CPU",
}
"""Figures the table shows, and what it calls them."""

LEGEND = """\
Ratios to the measure named second, the median over rounds; half of the rounds are within +-.
p50, p99: time to the answer over 1 connection (plan-open, plan-mixed: over 16, at a fixed rate).
requests/s: over 16 a serving process (...-offered: ten times as many wanted). CPU: what all
processes of the server spend on a request, or one process on a computation.
"""

_NAME_WIDTH = 18
_CELL_WIDTH = 12
_LARGE = 100
_MEDIUM = 10


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run: where it was taken, everything measured, and the comparisons made of it."""

    version: str
    python: str
    processors: int
    measured: tuple[Measured, ...]
    comparisons: tuple[Comparison, ...]


def report(measured: Sequence[Measured]) -> Report:
    """Gather a run's figures."""
    return Report(
        version=__version__,
        python=platform.python_version(),
        processors=len(os.sched_getaffinity(0)),
        measured=tuple(measured),
        comparisons=tuple(compare(measured)),
    )


def write_json(path: Path, run: Report) -> None:
    """Write a run for programs."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")


def as_text(run: Report) -> str:
    """Show a run's comparisons, and below them what explains them."""
    present = {name for each in run.comparisons for name in each.ratios}
    columns = [column for column in COLUMNS if column in present]
    heading = _line("", "", (COLUMNS[column] for column in columns))
    lines = [_comparison(each, columns) for each in run.comparisons]
    notes = [_noted(each.name, each.notes) for each in run.measured if each.notes]
    units = {each.unit for each in run.comparisons}
    times = [_timed(each, columns) for each in run.measured if each.name in units]
    return "\n".join([LEGEND, heading, *lines, "", *notes, "", *times, ""])


def _comparison(comparison: Comparison, columns: Sequence[str]) -> str:
    cells = (_cell(comparison.ratios.get(column)) for column in columns)
    unit = comparison.unit.removeprefix(comparison.name + "/")
    return _line(comparison.name, unit, cells)


def _line(name: str, unit: str, cells: Iterable[str]) -> str:
    right = "".join(cell.rjust(_CELL_WIDTH) for cell in cells)
    return f"{name:{_NAME_WIDTH}}{unit:{_NAME_WIDTH - 4}}{right}".rstrip()


def _cell(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{_figure(ratio.median)} +-{ratio.spread:.0%}"


def _figure(value: float) -> str:
    if value >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _MEDIUM else f"{value:.2f}"


def _noted(name: str, notes: dict[str, int]) -> str:
    told = (f"{figure.replace('_', ' ')} {value:,}" for figure, value in notes.items())
    return f"{name}: {', '.join(told)}"


def _timed(unit: Measured, columns: Sequence[str]) -> str:
    """Show what a unit itself took, here and now."""
    medians = {
        column: statistics.median(figures[column] for figures in unit.rounds)
        for column in columns
        if column in unit.rounds[0]
    }
    told = (f"{COLUMNS[column]} {_absolute(column, m)}" for column, m in medians.items())
    return f"{unit.name} on this machine: {', '.join(told)}"


def _absolute(column: str, value: float) -> str:
    return f"{value:,.0f}" if column == "requests_per_second" else f"{value * 1000:.3f} ms"
