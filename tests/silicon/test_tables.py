"""Plans by tables of measured kernels, with a stand-in for the package."""

from math import inf
from typing import Any

import pytest

from rackfit.api import operation, worker
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve
from rackfit.performance.forward import Batch, Common
from rackfit.performance.run import Passes
from rackfit.planning.plan import plan
from rackfit.planning.question import PlanAnswer
from rackfit.settings import Settings
from rackfit.silicon import tables
from rackfit.silicon.tables import SiliconTables
from silicon.asking import request
from silicon.standing import CATALOG, CONFIG, MODEL, Stand, Stopwatch


def planned(model: dict[str, object] | None = None, **more: object) -> PlanAnswer:
    """Plan a model with the tables."""
    return plan(
        request(model or {"id": MODEL}, **more),
        CATALOG,
        device_reserve=0.1,
        expired=lambda: False,
        tables=SiliconTables(CATALOG),
    )


def methods(answer: PlanAnswer) -> list[str]:
    """How each plan's speed was found."""
    return [one.performance.method for one in answer.plans if one.performance is not None]


def test_covered_plans_are_timed_by_the_tables(stand: Stand) -> None:
    """Method and basis say so, and the time to the first token is that of the passes asked for."""
    answer = planned(constraints={"tensor": 2, "replicas": 1})
    (first, *_) = answer.plans

    assert {"kernels measured on the silicon (aiconfigurator-core 0.12.0)"} == set(methods(answer))
    assert first.performance is not None
    assert "measured on the silicon" in first.performance.basis
    assert {2} == {watch.pairing.tensor for watch in stand.watches}
    assert {"bfloat16"} == {watch.pairing.kv_cache for watch in stand.watches}
    asked = [call for watch in stand.watches for call in watch.asked]
    assert ("mixed", (4000, 16, 4000, 1000, 0)) in asked
    assert ("decode", (16, 4500, 2)) in asked


def test_a_workload_without_a_length_is_timed_by_steps_alone(stand: Stand) -> None:
    """Sequences are written at the asked context; a prompt is read beside the others."""
    answer = planned(workload={"context_tokens": 8192, "sequences": 16}, limit=1)
    asked = [call for watch in stand.watches for call in watch.asked]

    assert ("decode", (16, 8192, 2)) in asked
    (first,) = answer.plans
    assert first.performance is not None
    expected = (16 + first.split.tensor) / 1000
    assert pytest.approx(expected) == first.performance.seconds_per_output_token


@pytest.mark.usefixtures("stand")
def test_without_tables_nothing_changes() -> None:
    """Who has not installed the package gets the same plans, by the roofline."""
    asked = request({"id": MODEL})
    bare = plan(asked, CATALOG, device_reserve=0.1, expired=lambda: False)
    told = planned()

    assert all("roofline" in method for method in methods(bare))
    assert [one.split for one in bare.plans] == [one.split for one in told.plans]
    assert [one.ranks for one in bare.plans] == [one.ranks for one in told.plans]


def test_what_is_not_covered_is_told_by_the_roofline(stand: Stand) -> None:
    """Plan by plan."""
    stand.refused = {1, 8}
    answer = planned(limit=20)
    told = list(zip(methods(answer), answer.plans, strict=True))
    by_tables = {one.split.tensor for method, one in told if "measured on" in method}
    by_roofline = {one.split.tensor for method, one in told if "roofline" in method}

    assert by_tables
    assert {8} <= by_roofline <= {1, 8}


@pytest.mark.usefixtures("stand")
def test_plans_are_ordered_by_the_tables_where_speed_is_wanted() -> None:
    """The stand-in finds few tensor ranks the fastest; the roofline does not."""
    answer = planned(objective="lowest-latency", limit=3)
    times = [p.performance.seconds_per_output_token for p in answer.plans if p.performance]
    bare = plan(
        request({"id": MODEL}, objective="lowest-latency", limit=3),
        CATALOG,
        device_reserve=0.1,
        expired=lambda: False,
    )

    assert times == sorted(times)
    assert [p.split for p in answer.plans] != [p.split for p in bare.plans]


@pytest.mark.usefixtures("stand")
def test_a_time_that_only_the_roofline_keeps_is_warned_of() -> None:
    """The caller's limit was held by the roofline; the tables say otherwise."""
    answer = planned(constraints={"max_seconds_per_output_token": 0.02, "tensor": 8}, limit=1)

    (warning,) = [text for text in answer.warnings if "max_seconds_per_output_token" in text]
    assert "measured on the silicon" in warning


@pytest.mark.parametrize(
    "more",
    [
        {"model": {"config": {**(CONFIG or {}), "num_hidden_layers": 63}}},
        {"quantization": "fp8"},
        {"engine": {"name": "llama.cpp"}},
        {"kv_cache_dtype": "fp8", "engine": {"name": "sglang"}, "model": {"id": "Qwen/Qwen3-8B"}},
    ],
)
def test_another_model_type_of_number_or_engine_is_not_covered(
    stand: Stand, more: dict[str, Any]
) -> None:
    """A model is what its layers are and what they are stored in."""
    answer = planned(**more)

    assert all("roofline" in method for method in methods(answer))
    assert not stand.watches


@pytest.mark.usefixtures("stand")
def test_times_that_are_none_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, infinity or an error of the package: the roofline tells."""
    for wrong in (0.0, inf, float("nan")):
        monkeypatch.setattr(Stopwatch, "mixed_step_latency", lambda *_, found=wrong: found)
        assert all("roofline" in method for method in methods(planned()))

    def fails(*_: object) -> float:
        raise KeyError

    monkeypatch.setattr(Stopwatch, "mixed_step_latency", fails)
    assert all("roofline" in method for method in methods(planned()))


def passes(stand: Stand, split: Split) -> tuple[Passes, Stopwatch]:
    """Passes of a split, and what is asked for them."""
    resolved = resolve(ModelRef(id=MODEL), CATALOG, quantization=None, kv_cache_dtype=None)
    common = Common(resolved.model, engine_for(EngineChoice(name="vllm"), 0.1))
    accelerator = CATALOG.accelerators["NVIDIA-H200"]
    return SiliconTables(CATALOG).forward(common, split, accelerator, 8192), stand.watches[-1]


def test_a_chunk_attends_to_what_was_read_before(stand: Stand) -> None:
    """The table of mixed passes knows no earlier tokens; that of prompts does."""
    forward, watch = passes(stand, Split(tensor=2))
    batch = Batch(decoding=4, context=6500, prompts=1, new=2000, end=6000)

    seconds = forward.stage_seconds(batch, (64,))
    mixed, earlier = 10 * 2, 4000 / 10_000
    assert pytest.approx((mixed + earlier) / 1000) == seconds
    assert ("prefill", (1, 6000, 4000)) in watch.asked


def test_part_of_a_chunk_a_pass_is_one_in_some_passes(stand: Stand) -> None:
    """A quarter of a prompt a pass: three passes write, the fourth reads as well."""
    forward, _ = passes(stand, Split(tensor=2))
    batch = Batch(decoding=4, context=4500, prompts=0.25, new=4000, end=4000)

    writing, both = 4 + 2, 10 * 2
    expected = (0.75 * writing + 0.25 * both) / 1000
    assert pytest.approx(expected) == forward.stage_seconds(batch, (64,))


def test_the_stage_with_most_layers_sets_the_pace(stand: Stand) -> None:
    """A pass is told of even stages."""
    forward, _ = passes(stand, Split(tensor=2, pipeline=2))
    batch = Batch(decoding=4, context=4500)

    even, uneven = (forward.stage_seconds(batch, layers) for layers in ((32, 32), (24, 40)))
    assert pytest.approx(6 / 1000 / 2) == even
    assert pytest.approx(even * 40 / 32) == uneven
    assert 0 == forward.draft_seconds(batch)


def test_accelerators_of_the_tables_are_in_the_catalog() -> None:
    """Every name is one of ours."""
    assert set(tables.SYSTEMS) <= set(CATALOG.accelerators)


def test_answers_are_kept_apart_by_the_tables_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two services on one Redis, one with the package, never share an answer."""
    context = worker._context(Settings())  # noqa: SLF001 - what a worker computes with
    variants = {context.variant}
    for version in ("0.12.0", "0.13.0"):
        monkeypatch.setattr(operation, "VERSION", version)
        variants.add(context.variant)

    assert 3 == len(variants)
