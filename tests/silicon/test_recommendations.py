"""Recommendations by tables of measured kernels, with a stand-in for the package."""

from typing import Any

import msgspec
import pytest

from rackfit.api import worker
from rackfit.api.operations import BY_ID
from rackfit.planning.question import ROOFLINE
from rackfit.planning.recommendation import (
    Recommendation,
    RecommendationAnswer,
    RecommendationRequest,
    recommend,
)
from rackfit.settings import Settings
from rackfit.silicon.tables import SYSTEMS, SiliconTables
from silicon.standing import CATALOG, MODEL, Stand

QUESTION = {
    "model": {"id": MODEL},
    "engine": {"name": "vllm"},
    "workload": {
        "context_tokens": 8192,
        "sequences": 16,
        "input_tokens": 4000,
        "output_tokens": 1000,
    },
}
H200, H100, AMD = "NVIDIA-H200", "NVIDIA-H100-80GB-HBM3", "AMD-Instinct-MI300X"


def asked(**more: object) -> RecommendationRequest:
    """A question about two covered parts and one that is not."""
    return msgspec.convert(
        {**QUESTION, "accelerators": [AMD, H200, H100], **more}, RecommendationRequest
    )


def recommended(question: RecommendationRequest, **more: Any) -> RecommendationAnswer:  # noqa: ANN401
    """Recommend with the tables."""
    options = {"tables": SiliconTables(CATALOG), "expired": lambda: False, **more}
    return recommend(question, CATALOG, device_reserve=0.1, **options)


def bare(question: RecommendationRequest) -> RecommendationAnswer:
    """Recommend without them."""
    return recommended(question, tables=None)


def covered(one: Recommendation) -> bool:
    """Tell whether a recommendation's speed is by the tables."""
    return one.performance is not None and "measured on the silicon" in one.performance.method


@pytest.mark.usefixtures("stand")
def test_covered_parts_are_timed_by_the_tables() -> None:
    """Part by part, and method and basis say so; all else is as without the tables."""
    question = asked()
    told, before = recommended(question), bare(question)

    assert {H200: True, H100: True, AMD: False} == {
        one.accelerator: covered(one) for one in told.recommendations
    }
    for one, other in zip(told.recommendations, before.recommendations, strict=True):
        assert one == msgspec.structs.replace(other, performance=one.performance)
        assert one.performance is not None
        assert covered(one) == ("measured on the silicon" in one.performance.basis)
    assert told.warnings == before.warnings


def test_without_tables_the_package_is_not_asked(stand: Stand) -> None:
    """Every speed is by the roofline."""
    answer = bare(asked(objective="lowest-latency"))

    assert {ROOFLINE} == {
        one.performance.method for one in answer.recommendations if one.performance
    }
    assert not stand.watches


def test_only_what_is_told_is_looked_up(stand: Stand) -> None:
    """By cost the best is known before its speed is."""
    prices = {H200: 1.0, H100: 9.0, AMD: 9.0}
    (one,) = recommended(asked(prices=prices, limit=1)).recommendations

    assert H200 == one.accelerator
    assert {SYSTEMS[H200]} == {watch.pairing.system for watch in stand.watches}


@pytest.mark.usefixtures("stand")
@pytest.mark.parametrize("objective", ["lowest-latency", "highest-throughput"])
def test_parts_are_ordered_by_the_tables_where_speed_is_wanted(objective: str) -> None:
    """So are the splits of each: the stand-in finds few tensor ranks the fastest.

    What is not covered comes where its own estimate puts it, and a warning says so.
    """
    question = asked(objective=objective, accelerators=[AMD, *SYSTEMS], limit=100)
    told = recommended(question)
    kinds = [covered(one) for one in told.recommendations]
    times = [
        one.performance.seconds_per_output_token
        if objective == "lowest-latency"
        else -one.performance.tokens_per_second
        for one in told.recommendations
        if one.performance
    ]

    assert 0 < sum(kinds) < len(kinds)
    assert sorted(times) == times
    assert any("do not compare" in text for text in told.warnings)
    splits = {one.accelerator: one.split for one in bare(question).recommendations}
    assert any(one.split != splits[one.accelerator] for one in told.recommendations)


@pytest.mark.usefixtures("stand")
def test_a_time_that_only_the_roofline_keeps_is_warned_of() -> None:
    """By the name of the part; of what the roofline tells there is no such warning."""
    answer = recommended(asked(max_seconds_per_output_token=0.02))
    late = [
        one.accelerator
        for one in answer.recommendations
        if one.performance and one.performance.seconds_per_output_token > 0.02
    ]

    warned = [text.partition(":")[0] for text in answer.warnings if "max_seconds" in text]
    assert late == warned
    assert set(late) <= {H200, H100}
    assert late


@pytest.mark.parametrize("objective", ["lowest-cost", "lowest-latency"])
def test_out_of_time_nothing_is_lost_but_the_tables(stand: Stand, objective: str) -> None:
    """All parts are searched before any is looked up; the rest is told by the roofline."""
    question = asked(objective=objective)
    answer = recommended(question, expired=lambda: bool(stand.watches))

    parts = {one.accelerator for one in bare(question).recommendations}
    assert parts == {one.accelerator for one in answer.recommendations}
    looked_up = sum(covered(one) for one in answer.recommendations)
    # One plan was: by speed the roofline may put another of its part first.
    assert looked_up == 1 if objective == "lowest-cost" else looked_up <= 1
    assert not answer.complete


@pytest.mark.usefixtures("stand")
def test_the_operation_has_the_tables() -> None:
    """A worker hands on those it has."""
    context = msgspec.structs.replace(
        worker._context(Settings()),  # noqa: SLF001 - what a worker computes with
        tables=SiliconTables(CATALOG),
    )
    answer = BY_ID["create_recommendation"].run(context, {}, None, asked())

    assert any(covered(one) for one in answer.recommendations)
