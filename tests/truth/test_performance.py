"""Speed held to step times composed from measured kernels, and to published throughput."""

import json
from pathlib import Path
from statistics import median

import pytest

import fitting
import step_times
from rackfit.catalog.load import load_catalog
from rackfit.performance.efficiency import Phase

CATALOG = load_catalog()
POINTS = step_times.measured()
COMMITTED = Path(fitting.__file__).parents[1] / "service/rackfit/catalog/data/efficiencies.toml"


def test_committed_efficiencies_are_what_the_rows_give() -> None:
    """`make fit` changes nothing: what is committed was fitted by the code that is."""
    assert fitting.table(step_times.fitted(POINTS)) == COMMITTED.read_text()


def test_all_rows_are_fitted_on() -> None:
    """No row is left out, whatever its residual."""
    assert 426 == len(POINTS)
    assert 426 == sum(found.points for found in CATALOG.efficiencies)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_pairs_not_fitted_on_are_estimated(phase: Phase) -> None:
    """Left out of the fit with all their rows, models on accelerators stay within 15 and 40 %."""
    _, middle, ninth = step_times.errors(
        step_times.held_out(POINTS), lambda point: point.row.phase == phase
    )

    assert middle < 0.15
    assert ninth < 0.40


def test_bands_hold_what_they_say() -> None:
    """Eight rows of ten lie within the band of their efficiency."""
    fitted = {(e.engine, e.generation, e.phase): e for e in CATALOG.efficiencies}
    within = [
        fitted[p.group].low <= p.ratio * fitted[p.group].factor <= fitted[p.group].high
        for p in POINTS
    ]

    assert pytest.approx(0.8, abs=0.03) == sum(within) / len(within)


def test_published_throughput_is_reached() -> None:
    """Deployments of DeepSeek-V3 and R1 on four kinds of accelerators, half within 35 %."""
    errors = [abs(ours / theirs - 1) for _, ours, theirs in step_times.published(CATALOG)]

    assert len(json.loads((step_times.DATA / "throughput.json").read_bytes())) == len(errors)
    assert median(errors) < 0.35
