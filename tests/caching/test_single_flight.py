"""Concurrent equal requests compute once."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from rackfit.caching.single_flight import SingleFlight

pytestmark = pytest.mark.anyio


class Computation:
    """A computation that counts its starts and ends when told to."""

    def __init__(self) -> None:
        self.starts = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        """Wait for the gate; return how many computations have been started."""
        self.starts += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.starts


async def start(
    flights: SingleFlight[bytes, int],
    compute: Callable[[], Awaitable[int]],
    callers: int,
    key: bytes = b"k",
) -> list[asyncio.Task[int]]:
    """Start callers and let them all reach the flight."""
    tasks = [asyncio.create_task(flights.run(key, compute)) for _ in range(callers)]
    await asyncio.sleep(0.01)
    return tasks


async def test_a_thousand_waiters_compute_once() -> None:
    """A thousand concurrent equal requests share one computation and its result."""
    flights, compute = SingleFlight[bytes, int](), Computation()
    waiters = await start(flights, compute, 1_000)
    compute.gate.set()

    assert [1] * 1_000 == await asyncio.gather(*waiters)
    assert 1 == compute.starts
    assert 0 == len(flights)


async def test_different_keys_do_not_share() -> None:
    """Requests with different keys compute each for itself."""
    flights, compute = SingleFlight[bytes, int](), Computation()
    waiters = await start(flights, compute, 1, b"a") + await start(flights, compute, 1, b"b")
    compute.gate.set()
    await asyncio.gather(*waiters)

    assert 2 == compute.starts


async def test_a_result_is_not_kept() -> None:
    """A request that comes after the computation ended starts a new one."""
    flights, compute = SingleFlight[bytes, int](), Computation()
    compute.gate.set()

    assert [1, 2] == [await flights.run(b"k", compute) for _ in range(2)]


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_a_caller_that_leaves_takes_only_itself(leaver: int) -> None:
    """Cancelling one waiter, the first one too, leaves the others their result."""
    flights, compute = SingleFlight[bytes, int](), Computation()
    waiters = await start(flights, compute, 3)
    waiters[leaver].cancel()
    await asyncio.sleep(0)
    compute.gate.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)

    assert isinstance(results.pop(leaver), asyncio.CancelledError)
    assert [1, 1] == results
    assert 0 == compute.cancelled


async def test_the_computation_ends_with_its_last_waiter() -> None:
    """When nobody is left waiting the computation is cancelled and forgotten."""
    flights, compute = SingleFlight[bytes, int](), Computation()
    waiters = await start(flights, compute, 3)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    await asyncio.sleep(0.01)

    assert 1 == compute.cancelled
    assert 0 == len(flights)


async def test_a_caller_does_not_join_a_cancelled_computation() -> None:
    """Who comes while an abandoned computation still cleans up starts a new one."""
    flights, compute = SingleFlight[bytes, int](), Computation()
    cleaning = asyncio.Event()

    async def slow_to_die() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            await cleaning.wait()
        return 0

    (abandoned,) = await start(flights, slow_to_die, 1)
    abandoned.cancel()
    await asyncio.sleep(0)
    (waiter,) = await start(flights, compute, 1)
    cleaning.set()
    await asyncio.sleep(0.01)
    assert 1 == len(flights)

    compute.gate.set()
    assert 1 == await waiter


async def test_an_error_reaches_everyone_who_waits_and_no_one_else() -> None:
    """Waiters share the very error; the next request computes again."""
    flights = SingleFlight[bytes, int]()
    attempts: list[None] = []

    async def fail() -> int:
        attempts.append(None)
        await asyncio.sleep(0.02)
        raise LookupError(len(attempts))

    results = await asyncio.gather(*await start(flights, fail, 3), return_exceptions=True)
    assert [LookupError] * 3 == [type(result) for result in results]
    assert 1 == len({id(result) for result in results})

    with pytest.raises(LookupError, match="2"):
        await flights.run(b"k", fail)


async def test_an_error_nobody_waited_for_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A computation that fails while being cancelled leaves no complaint of asyncio's behind."""
    flights = SingleFlight[bytes, int]()

    async def fail_late() -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise LookupError from None
        return 0

    (waiter,) = await start(flights, fail_late, 1)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    await asyncio.sleep(0.01)
    gc.collect()

    assert [] == caplog.messages
