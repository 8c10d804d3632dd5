"""Single flight across processes, through a real server: one computes, the others wait."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

import pytest

from rackfit.caching import turns
from rackfit.caching.answer import CachedAnswer
from rackfit.caching.circuit import CircuitLimits
from rackfit.caching.redis_link import RedisLimits
from rackfit.caching.redis_store import RedisStore
from rackfit.caching.turns import turn
from servers import RedisServer, free_port

pytestmark = pytest.mark.anyio

ANSWER = CachedAnswer.of(b'{"feasible":true}', "application/json")
LIMITS = RedisLimits(connect_timeout_seconds=0.5, operation_timeout_seconds=0.5, ttl_seconds=60)
CIRCUIT = CircuitLimits(max_lost_seconds=0.5, cool_down_seconds=60)
PATIENCE_SECONDS = 20.0


@contextlib.asynccontextmanager
async def stores(url: str, count: int) -> AsyncIterator[list[RedisStore]]:
    """Open a store for each of several processes."""
    opened = [RedisStore(url, LIMITS, CIRCUIT) for _ in range(count)]
    try:
        yield opened
    finally:
        for store in opened:
            await store.aclose()


async def computed(store: RedisStore, key: bytes, runs: list[int], seconds: float) -> bytes:
    """Answer as a process does: with what another computed, or by computing."""
    async with turn(store, key, PATIENCE_SECONDS) as found:
        if found is not None:
            return found.body
        runs.append(1)
        await asyncio.sleep(seconds)
        store.put(key, ANSWER)
        return ANSWER.body


@pytest.mark.parametrize("seconds", [0.0, 0.2, turns.LEASE_SECONDS * 1.5])
async def test_one_of_many_computes(redis_url: str, seconds: float) -> None:
    """However long that takes: a lease is renewed."""
    key, runs = os.urandom(32), list[int]()
    async with stores(redis_url, 8) as opened:
        bodies = await asyncio.gather(*(computed(s, key, runs, seconds) for s in opened))
    assert ([ANSWER.body] * 8, 1) == (bodies, len(runs))


async def test_the_next_computes_when_the_first_came_to_nothing(redis_url: str) -> None:
    """An error gives the turn back at once, not when the lease runs out."""
    key, runs = os.urandom(32), list[int]()
    async with stores(redis_url, 2) as (first, second):
        with pytest.raises(ZeroDivisionError):
            async with turn(first, key, PATIENCE_SECONDS):
                raise ZeroDivisionError
        started = time.monotonic()
        await computed(second, key, runs, 0)
    assert 1 == len(runs)
    assert time.monotonic() - started < turns.LEASE_SECONDS / 2


async def test_the_next_computes_when_the_first_is_gone(redis_url: str) -> None:
    """A process that died renews nothing: its lease runs out."""
    key, runs = os.urandom(32), list[int]()
    async with stores(redis_url, 2) as (first, second):
        await first.claim(key, b"dead", turns.LEASE_SECONDS)
        await computed(second, key, runs, 0)
    assert 1 == len(runs)


async def test_patience_ends(redis_url: str) -> None:
    """Who has waited long enough computes beside the first."""
    key = os.urandom(32)
    async with (
        stores(redis_url, 2) as (first, second),
        turn(first, key, PATIENCE_SECONDS),
        turn(second, key, 0.1) as found,
    ):
        assert found is None


async def test_an_answer_that_came_in_between_is_taken(redis_url: str) -> None:
    """A lease that is free does not mean that there is nothing."""
    key = os.urandom(32)
    async with stores(redis_url, 2) as (first, second):
        async with turn(first, key, PATIENCE_SECONDS):
            first.put(key, ANSWER)
        await first.aclose()
        async with turn(second, key, PATIENCE_SECONDS) as found:
            assert ANSWER == found


async def test_a_dead_server_lets_everybody_compute() -> None:
    """At once, and later as well."""
    async with stores(f"redis://127.0.0.1:{free_port()}", 1) as (store,):
        for _ in range(3):
            async with turn(store, os.urandom(32), PATIENCE_SECONDS) as found:
                assert found is None


async def test_a_server_that_takes_no_writes_lets_everybody_compute(
    own_redis: RedisServer,
) -> None:
    """It is still read, so its circuit stays closed."""
    async with stores(own_redis.url, 1) as (store,):
        await store._link.client.config_set("maxmemory", 1)  # noqa: SLF001 - to spoil it
        async with turn(store, os.urandom(32), PATIENCE_SECONDS) as found:
            assert found is None
        assert "closed" == store.state.circuit
