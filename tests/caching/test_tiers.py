"""Both tiers together, as the service sees them."""

import asyncio
import os

import msgspec
import pytest

from counting import Counted
from rackfit.caching.answer import CachedAnswer
from rackfit.caching.memory_store import ENTRY_OVERHEAD_BYTES
from rackfit.caching.tiers import AnswerCache, cache_for
from rackfit.settings import Settings
from servers import RedisServer, free_port

pytestmark = pytest.mark.anyio

ANSWER = CachedAnswer.of(os.urandom(5_000), "application/msgpack")


def cache_on(url: str | None = None) -> AnswerCache:
    """Return a cache with an empty first tier, as a replica that has just started has."""
    return cache_for(Settings(redis_url=url))


async def got(cache: AnswerCache, key: bytes) -> tuple[CachedAnswer, str] | None:
    """Return what either tier has, and which."""
    if held := cache.recall(key):
        return held, "memory"
    fetched = await cache.fetch(key)
    return fetched and (fetched, "redis")


async def test_memory_alone_is_enough() -> None:
    """Without Redis an answer put is got from memory, and one never put is not there."""
    cache = cache_on()
    cache.put(b"k", ANSWER)

    assert (ANSWER, "memory") == await got(cache, b"k")
    assert await got(cache, b"j") is None
    await cache.aclose()


async def test_both_tiers_give_the_same_bytes(redis_url: str) -> None:
    """Another replica gets from Redis what the first has in memory, and then has it too."""
    key = os.urandom(32)
    one, other = cache_on(redis_url), cache_on(redis_url)
    one.put(key, ANSWER)
    assert (ANSWER, "memory") == await got(one, key)
    await one.aclose()

    assert (ANSWER, "redis") == await got(other, key)
    assert (ANSWER, "memory") == await got(other, key)
    await other.aclose()


async def test_what_neither_tier_has_is_none(redis_url: str) -> None:
    """A key in neither tier gives None."""
    cache = cache_on(redis_url)

    assert await got(cache, os.urandom(32)) is None
    await cache.aclose()


async def test_a_dead_redis_changes_no_answer() -> None:
    """With Redis dead from the start, memory serves as it does without Redis."""
    cache = cache_on(f"redis://127.0.0.1:{free_port()}")
    cache.put(b"k", ANSWER)

    assert (ANSWER, "memory") == await got(cache, b"k")
    assert await got(cache, b"j") is None
    await cache.aclose()


async def test_a_redis_that_dies_later_changes_no_answer(own_redis: RedisServer) -> None:
    """With Redis gone, what memory has is served as before and the rest is a miss."""
    cache = cache_on(own_redis.url)
    cache.put(b"k", ANSWER)
    await asyncio.sleep(0.05)
    own_redis.kill()

    assert (ANSWER, "memory") == await got(cache, b"k")
    assert await got(cache, b"j") is None
    await cache.aclose()


async def test_a_memory_hit_asks_nothing_of_redis(redis_url: str, counted: Counted) -> None:
    """Look-ups are counted by tier: Redis is asked only for what memory has not."""
    cache = cache_on(redis_url)
    cache.put(b"k", ANSWER)
    await got(cache, b"k")
    await got(cache, os.urandom(32))
    await cache.aclose()

    assert 1 == counted("rackfit_cache_lookups_total", tier="memory", outcome="hit")
    assert 1 == counted("rackfit_cache_lookups_total", tier="memory", outcome="miss")
    assert 1 == counted("rackfit_redis_operation_duration_seconds_count", operation="get")


async def test_readiness_detail_tells_both_tiers(redis_url: str) -> None:
    """The description is plain values: what memory holds and how Redis is."""
    cache = cache_on(redis_url)
    await got(cache, os.urandom(32))
    described = cache.describe()
    await cache.aclose()

    assert {"entries": 0, "held_bytes": 0} == described["memory"]
    assert {
        "circuit": "closed",
        "pending_operations": 0,
        "last_error": None,
        "last_error_age_seconds": None,
    } == described["redis"]
    assert msgspec.json.encode(described)


async def test_readiness_detail_without_redis_says_so() -> None:
    """Where no Redis is set there is none to describe."""
    assert cache_on().describe()["redis"] is None


async def test_settings_choose_the_tiers(redis_url: str) -> None:
    """Redis is used when its URL is set and only then."""
    key = os.urandom(32)
    alone, one, other = cache_for(Settings()), *map(cache_for, [Settings(redis_url=redis_url)] * 2)
    for cache in (alone, one):
        cache.put(key, ANSWER)
        await cache.aclose()

    assert alone.describe()["redis"] is None
    assert (ANSWER, "redis") == await got(other, key)
    await other.aclose()


@pytest.mark.parametrize(
    ("settings", "entries"),
    [
        (Settings(), 3),
        (Settings(cache_entries=2), 2),
        (Settings(cache_bytes=2 * 6_000), 2),
        (Settings(cache_bytes=0), 0),
    ],
)
async def test_settings_bound_the_first_tier(settings: Settings, entries: int) -> None:
    """Of three answers put, memory holds as many as the settings have room for."""
    cache = cache_for(settings)
    for key in (b"a", b"b", b"c"):
        cache.put(key, ANSWER)

    held_bytes = entries * (len(ANSWER.body) + ENTRY_OVERHEAD_BYTES)
    assert {"entries": entries, "held_bytes": held_bytes} == cache.describe()["memory"]


async def test_settings_give_redis_its_time(own_redis: RedisServer) -> None:
    """A reply that takes longer than usual, but less than the time set, is still waited for."""
    key = os.urandom(32)
    patient = Settings(redis_url=own_redis.url, redis_timeout_seconds=10)
    one, other = cache_for(patient), cache_for(patient)
    one.put(key, ANSWER)
    await one.aclose()
    own_redis.pause()
    found = asyncio.create_task(got(other, key))
    await asyncio.sleep(0.3)
    own_redis.resume()

    assert (ANSWER, "redis") == await found
    await other.aclose()
