"""The benchmarks work: nothing here says how fast anything is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.client import Load, send
from benchmarks.edge import MEASURES, MISS, Measure, with_units
from benchmarks.measured import Measured, Ratio, compare, ratio
from benchmarks.questions import litestar_no_op, memory_anew, mixed_nodes, plan_again
from benchmarks.server import Server, serving
from benchmarks.soak import ALLOWED_GROWTH, growth, soak

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the module, with warnings as errors."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-W", "error", "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """The service with the no-ops beside it."""
    with serving(RACKFIT_COMPUTE_PROCESSES="1") as running:
        yield running


def load(running: Server, **changes: object) -> Load:
    """A load of few requests for the framework's no-op."""
    usual = {
        "port": running.port,
        "request": litestar_no_op,
        "first": 0,
        "connections": 2,
        "seconds": 10.0,
        "most": 20,
    }
    return Load(**(usual | changes))  # type: ignore[arg-type] # each test names what it changes


def test_a_run_reports_ratios_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Units are measured beside what was named, and the table and the file tell the same."""
    file = tmp_path / "figures.json"
    ended = benchmarks("--quick", "plan-cached", "read-config", "--json", str(file))
    assert (0, "") == (ended.returncode, ended.stderr)
    run = json.loads(file.read_bytes())
    compared = {(each["name"], each["unit"]): each["ratios"] for each in run["comparisons"]}
    assert {
        ("plan-cached", "litestar-no-op"),
        ("read-config", "read-config/json.loads"),
    } == compared.keys()
    ratios = [one for each in compared.values() for one in each.values()]
    assert all(0 < one["low"] <= one["median"] <= one["high"] for one in ratios)
    assert all(name in ended.stdout for name, _ in compared)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """Nothing is started for it."""
    ended = benchmarks("plan-cahced")
    assert 2 == ended.returncode
    assert "plan-cached" in ended.stderr


def test_a_run_told_to_end_ends_what_it_started(tmp_path: Path) -> None:
    """SIGTERM while the server starts leaves no process, each known by its environment."""
    mark = f"TMPDIR={tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--quick", "live"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    try:
        _wait_for_processes(mark, 3)  # the server has started its own
        process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGTERM == process.wait(30)
    finally:
        process.kill()
        process.wait()
    assert 0 == _processes(mark)


def _wait_for_processes(mark: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while _processes(mark) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _processes(mark: str) -> int:
    """Count the processes with `mark` in their environment."""
    return sum(mark.encode() in _environment(file) for file in Path("/proc").glob("*/environ"))


def _environment(file: Path) -> bytes:
    with contextlib.suppress(OSError):  # ended meanwhile, or another user's
        return file.read_bytes()
    return b""


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_request_is_answered(measure: Measure, served: Server) -> None:
    """What is timed are answers, not refusals."""
    answered = send(load(served, request=measure.request, most=3))
    assert 3 == answered.requests
    assert 0 < answered.p50_seconds <= answered.p99_seconds


def test_cold_requests_are_never_hits(served: Server) -> None:
    """Each has a number of its own, and with it a content of its own."""
    send(load(served, request=memory_anew, first=500, cache_status=MISS))


def test_a_wrong_answer_ends_the_measure(served: Server) -> None:
    """A hit where a miss was expected is not timed as one."""
    with pytest.raises(RuntimeError, match="plan_again: answered 200"):
        send(load(served, request=plan_again, cache_status=MISS))


def test_the_time_bounds_a_load_too(served: Server) -> None:
    """Requests beyond it are not sent."""
    answered = send(load(served, seconds=0.05, most=1_000_000))
    assert answered.requests < 1_000_000


def test_processor_time_of_the_server_grows_with_what_it_serves(served: Server) -> None:
    """It is read while the server runs."""
    before = served.cpu_seconds()
    send(load(served, most=500))
    assert served.cpu_seconds() > before


def test_a_server_that_does_not_start_says_why() -> None:
    """The error is what it logged."""
    with (
        pytest.raises(RuntimeError, match="RACKFIT_WORKERS"),
        serving(RACKFIT_WORKERS="none"),
    ):
        pass


def test_units_of_units_are_measured_too() -> None:
    """A ratio needs both of its sides in the same run."""
    names = [measure.name for measure in with_units(["live-saturated"])]
    assert ["litestar-no-op", "live", "live-saturated"] == names


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine that gets twice as slow between rounds changes nothing."""
    unit = Measured(name="unit", rounds=({"p50": 1.0}, {"p50": 2.0}))
    slow = Measured(name="slow", units=("unit",), rounds=({"p50": 3.0}, {"p50": 6.0}))
    (comparison,) = compare([unit, slow])
    assert {"p50": Ratio(median=3.0, spread=0.0, low=3.0, high=3.0)} == comparison.ratios


def test_half_of_the_rounds_are_within_the_spread() -> None:
    """It is a share of the median, so that a few wild rounds change neither."""
    summary = ratio([1.0, 2.0, 3.0, 2.5, 900.0])
    assert Ratio(median=2.5, spread=0.2, low=1.0, high=900.0) == summary


def test_inventories_have_as_many_shapes_as_they_say() -> None:
    """Twenty, evenly."""
    nodes = mixed_nodes(40)
    shapes = [json.dumps({k: v for k, v in node.items() if k != "name"}) for node in nodes]
    assert (20, 40) == (len(set(shapes)), len({node["name"] for node in nodes}))


def test_memory_that_grows_is_told_from_memory_that_wavers() -> None:
    """The first and the last of what was seen after warming up are compared."""
    wavering = growth([50, *([100, 104] * 50)])
    leaking = growth([100 + seen for seen in range(200)])

    assert abs(wavering.share) <= ALLOWED_GROWTH / 2
    assert leaking.share > ALLOWED_GROWTH
    assert leaking.most_bytes == 299


def test_a_soak_of_seconds_ends_well() -> None:
    """Every answer has the status it should have, and memory was looked at meanwhile."""
    with serving(RACKFIT_COMPUTE_PROCESSES="1") as server:
        samples, callers = soak(server, 2.0)

    assert [None] * len(callers) == [caller.failed for caller in callers]
    assert min(caller.asked for caller in callers) > 0
    assert min(samples) > 10_000_000
