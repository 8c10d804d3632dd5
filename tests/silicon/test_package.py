"""The package itself, where it is installed (`make silicon`): NVIDIA's own figures come out.

The rows are those the efficiencies are fitted on; the package composed them.
"""

from collections import Counter

import pytest

from rackfit.catalog import load_catalog
from rackfit.errors import NotCovered
from rackfit.performance.tabled import HIGH, LOW
from rackfit.planning.plan import plan
from rackfit.silicon import package, tables_for
from silicon.asking import request
from step_times import Row, rows, served

pytestmark = pytest.mark.silicon

CATALOG = load_catalog()
TABLES = tables_for(CATALOG)


def _error(row: Row) -> float | None:
    """How far a row's time is from ours; None where it is not covered."""
    assert TABLES is not None
    try:
        return abs(
            TABLES.forward(*served(row, CATALOG)).stage_seconds(row.batch, (1,)) / row.seconds - 1
        )
    except NotCovered:
        return None


def test_rows_are_told_as_they_were_composed() -> None:
    """Nine of ten rows are covered, and the median row to a thousandth."""
    found = {number: _error(row) for number, row in enumerate(rows())}
    errors = sorted(error for error in found.values() if error is not None)

    assert 0.9 < len(errors) / len(found), Counter(
        (rows()[number].model, rows()[number].engine)
        for number, error in found.items()
        if error is None
    )
    assert errors[len(errors) // 2] < 0.001
    assert errors[int(len(errors) * 0.9)] < 0.05


def test_models_are_covered_by_what_they_are() -> None:
    """A caller's own config of a model that is carried, whatever it is called."""
    config = package.carried()["deepseek-ai/DeepSeek-V3"]["config"]
    told = plan(
        request({"config": {**config, "_name_or_path": "ours"}}, constraints={"tensor": 8}),
        CATALOG,
        device_reserve=0.1,
        expired=lambda: False,
        tables=TABLES,
    )

    assert told.plans[0].performance is not None
    assert package.NAME in told.plans[0].performance.method


def test_another_model_is_left_to_the_roofline() -> None:
    """One layer less, and the tables say nothing."""
    config = package.carried()["deepseek-ai/DeepSeek-V3"]["config"]
    told = plan(
        request({"config": {**config, "num_hidden_layers": 60}}),
        CATALOG,
        device_reserve=0.1,
        expired=lambda: False,
        tables=TABLES,
    )

    assert told.plans[0].performance is not None
    assert "roofline" in told.plans[0].performance.method


def test_measured_serving_runs_fall_into_the_band() -> None:
    """Eight in ten of those that benchmarks logged, and the median one within a quarter."""
    from silicon.runs import runs  # noqa: PLC0415 - imports the package

    found = [run.tables for run in runs()]
    within = [ratio for ratio in found if LOW <= 1 / ratio <= HIGH]
    errors = sorted(abs(ratio - 1) for ratio in found)

    assert len(found) > 1500
    assert len(within) / len(found) >= 0.8
    assert errors[len(errors) // 2] < 0.25


def test_measured_serving_runs_are_near_the_roofline() -> None:
    """The median run by a quarter at most, and neither fast nor slow on the whole."""
    from silicon.runs import runs  # noqa: PLC0415 - imports the package

    found = sorted(run.roofline for run in runs())
    errors = sorted(abs(ratio - 1) for ratio in found)

    assert errors[len(errors) // 2] < 0.25
    assert 0.9 < found[len(found) // 2] < 1.1
