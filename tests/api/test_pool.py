"""The pool of worker processes."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from counting import Counted
from rackfit.api import worker
from rackfit.api.closing import Closing
from rackfit.api.pool import ComputePool, default_processes
from rackfit.api.problems import RequestError
from rackfit.settings import Settings

pytestmark = pytest.mark.anyio

PLENTY_SECONDS = 30.0


@pytest.fixture
def closing() -> Closing:
    """Return the end of the process, which has not begun."""
    return Closing()


@pytest.fixture
async def pool(closing: Closing) -> AsyncIterator[ComputePool]:
    """Run a pool of one process and one place in its queue."""
    pool = ComputePool(Settings(compute_processes=1, compute_queue=1), closing)
    await pool.start()
    yield pool
    pool.close()


async def _idle(pool: ComputePool) -> None:
    """Wait until nothing is in progress, for much less than any computation's time."""
    async with asyncio.timeout(PLENTY_SECONDS / 3):
        while pool.condition.in_progress:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.01)


async def test_a_function_runs_in_another_process(pool: ComputePool) -> None:
    """What is computed is not computed here."""
    assert os.getpid() != await pool.run(PLENTY_SECONDS, os.getpid)


async def test_what_a_function_raises_comes_back(pool: ComputePool) -> None:
    """Errors cross the process boundary."""
    with pytest.raises(ZeroDivisionError):
        await pool.run(PLENTY_SECONDS, partial(divmod, 1, 0))


async def test_workers_are_nice_and_leave_interrupts_to_the_server(pool: ComputePool) -> None:
    """Computations give way to cached answers, and Ctrl-C does not kill them under us."""
    assert 0 < await pool.run(PLENTY_SECONDS, partial(os.nice, 0))
    assert signal.SIG_IGN == await pool.run(
        PLENTY_SECONDS, partial(signal.getsignal, signal.SIGINT)
    )


async def test_a_full_queue_refuses_at_once(pool: ComputePool, counted: Counted) -> None:
    """Beyond the workers and the queue there is a 503 with Retry-After."""
    waiting = [
        asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, 0.3))) for _ in range(2)
    ]
    await asyncio.sleep(0)
    assert 2 == pool.condition.in_progress
    with pytest.raises(RequestError) as caught:
        await pool.run(PLENTY_SECONDS, partial(time.sleep, 0))
    assert 503 == caught.value.problem.status
    assert {"Retry-After": "1"} == caught.value.headers
    assert 1 == counted("rackfit_requests_refused_total", reason="full")
    await asyncio.gather(*waiting)
    assert 0 == pool.condition.in_progress


async def test_what_was_let_in_is_not_refused_at_its_next_step(pool: ComputePool) -> None:
    """However full the queue has become in between; it counts as any other."""
    waiting = [
        asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, 0.1))) for _ in range(2)
    ]
    await asyncio.sleep(0)
    going_on = asyncio.create_task(pool.run(PLENTY_SECONDS, os.getpid, is_let_in=True))
    await asyncio.sleep(0)
    assert 3 == pool.condition.in_progress
    assert os.getpid() != await going_on
    await asyncio.gather(*waiting)


async def test_a_computation_past_its_time_is_given_up_but_still_counted(
    pool: ComputePool, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets a 503; the worker is busy until the computation ends."""
    monkeypatch.setattr("rackfit.api.pool.GRACE_SECONDS", 0.0)
    with pytest.raises(RequestError) as caught:
        await pool.run(0.05, partial(time.sleep, 0.5))
    assert 503 == caught.value.problem.status
    assert 1 == counted("rackfit_requests_refused_total", reason="deadline")
    assert 1 == pool.condition.in_progress
    await _idle(pool)


async def test_a_caller_that_goes_away_leaves_the_queue(pool: ComputePool) -> None:
    """A computation nobody waits for, and that has not begun, never begins."""
    running = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, 0.2)))
    await asyncio.sleep(0.05)
    queued = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, PLENTY_SECONDS)))
    await asyncio.sleep(0)
    queued.cancel()
    await running
    await _idle(pool)


async def test_waiting_for_a_worker_takes_time_too(pool: ComputePool) -> None:
    """A queue that does not move refuses at the deadline, not after it."""
    running = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, 1)))
    await asyncio.sleep(0.05)
    with pytest.raises(RequestError):
        await pool.run(0.1, partial(time.sleep, 0))
    assert not running.done()
    await running


async def test_a_dead_worker_is_replaced_and_its_computation_tried_again(
    pool: ComputePool,
) -> None:
    """Whoever shared the pool with a worker that died gets an answer all the same."""
    before = await pool.run(PLENTY_SECONDS, os.getpid)
    running = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, 0.3)))
    await asyncio.sleep(0.1)
    os.kill(before, signal.SIGKILL)
    assert await running is None
    assert before != await pool.run(PLENTY_SECONDS, os.getpid)


async def test_a_computation_that_kills_workers_is_refused(
    pool: ComputePool, counted: Counted
) -> None:
    """Twice is enough; the pool is whole again for the next."""
    with pytest.raises(RequestError) as caught:
        await pool.run(PLENTY_SECONDS, partial(os._exit, 1))
    assert 503 == caught.value.problem.status
    assert 1 == counted("rackfit_requests_refused_total", reason="lost")
    assert os.getpid() != await pool.run(PLENTY_SECONDS, os.getpid)


async def test_closing_ends_a_computation_that_runs() -> None:
    """Shutting down does not wait for what nobody will read."""
    pool = ComputePool(Settings(compute_processes=1), Closing())
    await pool.start()
    running = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, PLENTY_SECONDS)))
    await asyncio.sleep(0.1)
    running.cancel()
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 5


def test_serving_processes_share_the_cores() -> None:
    """Two serving processes do not start two workers a core."""
    assert len(os.sched_getaffinity(0)) == default_processes(1)
    assert 1 == default_processes(1000)


def _until_expired() -> float:
    """Compute until told that time is up; returns how long that was."""
    started = time.monotonic()
    while not worker.is_expired():
        time.sleep(0.01)
    return time.monotonic() - started


async def test_a_caller_that_goes_away_tells_its_computation(pool: ComputePool) -> None:
    """What runs for nobody is told that its time is up."""
    running = asyncio.create_task(pool.run(PLENTY_SECONDS, _until_expired))
    await asyncio.sleep(0.2)
    assert 1 == pool.condition.in_progress
    running.cancel()
    await _idle(pool)


def _told_until_expired(begun: Path) -> float:
    """The same, which tells that it has begun by a file."""
    begun.touch()
    return _until_expired()


async def test_the_end_brings_deadlines_forward(
    closing: Closing, pool: ComputePool, tmp_path: Path
) -> None:
    """What runs comes to its end, what waits is refused, what comes later has no more time."""
    begun = tmp_path / "begun"
    running = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(_told_until_expired, begun)))
    waiting = asyncio.create_task(pool.run(PLENTY_SECONDS, partial(time.sleep, PLENTY_SECONDS)))
    async with asyncio.timeout(PLENTY_SECONDS):
        while not begun.exists():  # noqa: ASYNC110 - a worker has nothing else to tell by
            await asyncio.sleep(0.01)
    told = time.monotonic()
    closing.begin(0.3)
    assert await running < PLENTY_SECONDS / 3
    assert 0.3 < time.monotonic() - told < PLENTY_SECONDS / 3
    with pytest.raises(RequestError):
        await waiting
    assert await pool.run(PLENTY_SECONDS, _until_expired) < 1
