"""The package itself, where it is installed (`make silicon`): NVIDIA's own figures come out.

The rows are those the efficiencies are fitted on; the package composed them.
"""

from collections import Counter

import msgspec
import pytest

from rackfit.catalog import load_catalog
from rackfit.errors import NotCovered
from rackfit.performance.tabled import HIGH, LOW
from rackfit.planning.plan import plan
from rackfit.planning.recommendation import RecommendationRequest, recommend
from rackfit.silicon import package, tables_for
from rackfit.silicon.package import Compiled, Pairing
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


def test_replicas_of_two_kinds_are_matched_by_the_tables() -> None:
    """A prompt alone and a step alone are what the package is asked for."""
    assert TABLES is not None
    asked = request({"id": "Qwen/Qwen3-32B"}, disaggregate=True, constraints={"pipeline": 1})
    told = plan(asked, CATALOG, device_reserve=0.1, expired=lambda: False, tables=TABLES)

    assert told.disaggregated
    for pair in told.disaggregated:
        read, written = pair.prefill.split, pair.decode.split
        prompt = _compiled(read.tensor).predict_prefill_latency(1, 4000, 0) / 1000
        each = -(-16 // written.replicas)
        step = _compiled(written.tensor).predict_decode_latency(each, 4500, 2) / 1000
        assert pair.decode.performance is not None
        assert package.NAME in pair.decode.performance.method
        assert pytest.approx(step) == pair.seconds_per_output_token
        assert pytest.approx(16 / (step * 1000)) == pair.requests_per_second
        assert pytest.approx(pair.requests_per_second * prompt / read.replicas) == pair.prefill_busy
        assert pytest.approx(prompt) == pair.seconds_to_first_token - pair.seconds_to_transfer


def _compiled(tensor: int) -> Compiled:
    """What the package has for Qwen3-32B on H200 under vLLM."""
    return package.compiled(
        Pairing("Qwen/Qwen3-32B", "h200_sxm", "vllm", tensor, 1, 1, 1, "bfloat16", 0)
    )


def test_recommendations_are_by_the_tables_where_there_are_any() -> None:
    """For NVIDIA's own parts; others are told by the roofline."""
    asked = msgspec.convert(
        {
            "model": {"id": "Qwen/Qwen3-32B"},
            "engine": {"name": "vllm"},
            "workload": {"context_tokens": 8192, "sequences": 16},
            "accelerators": ["h200", "h100", "mi300x"],
        },
        RecommendationRequest,
    )
    told = recommend(
        asked, CATALOG, device_reserve=0.1, expired=lambda: False, tables=TABLES
    ).recommendations
    methods = {one.accelerator: one.performance.method for one in told if one.performance}

    assert package.NAME in methods["NVIDIA-H200"]
    assert package.NAME in methods["NVIDIA-H100-80GB-HBM3"]
    assert "roofline" in methods["AMD-Instinct-MI300X"]


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
