"""A store in front of a real Redis, and what its tests do with both."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from redis.asyncio import Redis

from rackfit.caching.answer import CachedAnswer
from rackfit.caching.circuit import CircuitLimits
from rackfit.caching.redis_link import RedisLimits
from rackfit.caching.redis_store import RedisStore

ANSWER = CachedAnswer.of(b'{"feasible":true}', "application/json")
MAX_VALUE_BYTES = 4_096

# Long enough for a busy machine, short enough to wait for.
LIMITS = RedisLimits(
    connect_timeout_seconds=0.5,
    operation_timeout_seconds=0.5,
    ttl_seconds=86_400,
    max_value_bytes=MAX_VALUE_BYTES,
    max_pending_writes=4,
)
NEVER_AGAIN = CircuitLimits(
    max_failures=3, max_lost_seconds=0.05, cool_down_seconds=3_600, max_cool_down_seconds=3_600
)
SOON_AGAIN = CircuitLimits(
    max_failures=3, max_lost_seconds=0.5, cool_down_seconds=0.02, max_cool_down_seconds=0.02
)


@contextlib.asynccontextmanager
async def opened(
    url: str, circuit_limits: CircuitLimits = NEVER_AGAIN
) -> AsyncIterator[RedisStore]:
    """Open a store and close it, whatever happens in between."""
    store = RedisStore(url, LIMITS, circuit_limits)
    try:
        yield store
    finally:
        await store.aclose()


@contextlib.asynccontextmanager
async def plain_client(url: str) -> AsyncIterator[Redis]:
    """Open a client beside the store's, to look at and spoil what it stored."""
    async with Redis.from_url(url, protocol=2) as client:
        yield client


def a_key() -> bytes:
    """Return a key no other test has."""
    return os.urandom(32)


async def written(store: RedisStore) -> None:
    """Wait until nothing runs behind the caller's back any more."""
    async with asyncio.timeout(10):
        while store.state.pending_operations:  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(0.005)


async def stored(store: RedisStore, key: bytes, answer: CachedAnswer = ANSWER) -> None:
    """Put an answer and wait until it is there."""
    store.put(key, answer)
    await written(store)


async def recovered(store: RedisStore) -> None:
    """Keep asking until Redis is in use again, as traffic would."""
    async with asyncio.timeout(10):
        while store.state.circuit != "closed":
            await store.get(a_key())
            await asyncio.sleep(0.01)
