"""The Redis tier against real servers that are well: what is kept, and what is not believed."""

import asyncio
from collections.abc import Awaitable

import pytest
import structlog.testing
from redis.asyncio import Redis

from caching.storing import (
    ANSWER,
    LIMITS,
    MAX_VALUE_BYTES,
    a_key,
    opened,
    plain_client,
    stored,
    written,
)
from counting import Counted
from rackfit.caching.answer import CachedAnswer, pack
from rackfit.caching.redis_store import name_of
from servers import RedisServer, redis_server

pytestmark = pytest.mark.anyio


async def test_an_answer_comes_back_byte_for_byte(redis_url: str, counted: Counted) -> None:
    """What was put is what is got, and both are counted."""
    key = a_key()
    async with opened(redis_url) as store:
        await stored(store, key)

        assert ANSWER == await store.get(key)
    assert 1 == counted("rackfit_cache_writes_total", tier="redis", outcome="stored")
    assert 1 == counted("rackfit_cache_lookups_total", tier="redis", outcome="hit")


async def test_what_was_never_put_is_a_miss(redis_url: str, counted: Counted) -> None:
    """An absent key is a miss and no error."""
    async with opened(redis_url) as store:
        assert await store.get(a_key()) is None
    assert 1 == counted("rackfit_cache_lookups_total", tier="redis", outcome="miss")


async def test_an_empty_value_is_none_of_ours(redis_url: str, counted: Counted) -> None:
    """What is there and empty was written by somebody else."""
    key = a_key()
    async with opened(redis_url) as store, plain_client(redis_url) as client:
        await client.set(name_of(key), b"")

        assert await store.get(key) is None
    assert 1 == counted("rackfit_cache_lookups_total", tier="redis", outcome="invalid")


async def test_answers_expire(redis_url: str) -> None:
    """Every value is stored under our prefix with the time to live that was set."""
    key = a_key()
    async with opened(redis_url) as store, plain_client(redis_url) as client:
        await stored(store, key)

        assert LIMITS.ttl_seconds - 60 < await client.ttl(name_of(key)) <= LIMITS.ttl_seconds


async def test_a_unix_socket_serves_as_well(own_redis: RedisServer) -> None:
    """A unix:// URL reaches the same server."""
    key = a_key()
    async with opened(own_redis.url) as one, opened(own_redis.unix_url) as other:
        await stored(one, key)

        assert ANSWER == await other.get(key)


async def test_the_right_password_and_a_database_are_used() -> None:
    """Credentials and database in the URL are sent on connecting."""
    key = a_key()
    with redis_server(password="right") as server:  # noqa: S106 - lives as long as the test
        async with opened(server.url + "/3") as store, plain_client(server.url + "/3") as client:
            await stored(store, key)

            assert ANSWER == await store.get(key)
            assert 1 == await client.exists(name_of(key))


FRAME_OF_ANOTHER_KEY = pack(ANSWER, key=b"another")


@pytest.mark.parametrize(
    "value",
    [
        b"\0",
        b"garbage",
        b'{"feasible":false}',
        FRAME_OF_ANOTHER_KEY,
        FRAME_OF_ANOTHER_KEY[:-1],
        b"x" * 10_000_000,
    ],
    ids=["nul", "text", "json", "another key's", "cut short", "ten megabytes"],
)
async def test_foreign_values_are_not_served(
    redis_url: str, counted: Counted, value: bytes
) -> None:
    """A value that is not ours is invalid, a miss, and replaced by the next answer."""
    key = a_key()
    async with opened(redis_url) as store, plain_client(redis_url) as client:
        await client.set(name_of(key), value, ex=60)
        assert await store.get(key) is None

        await stored(store, key)
        assert ANSWER == await store.get(key)
        assert "closed" == store.state.circuit
    assert 1 == counted("rackfit_cache_lookups_total", tier="redis", outcome="invalid")


async def test_a_huge_foreign_value_is_not_fetched(own_redis: RedisServer) -> None:
    """Of a value above the limit no more is read than of the largest of ours."""
    key = a_key()
    async with opened(own_redis.url) as store, plain_client(own_redis.url) as client:
        await client.set(name_of(key), b"x" * 10_000_000)
        before = (await client.info("stats"))["total_net_output_bytes"]
        assert await store.get(key) is None

        after = (await client.info("stats"))["total_net_output_bytes"]
        assert after - before < 10 * MAX_VALUE_BYTES


@pytest.mark.parametrize("kept", [1, 20, 42, 60])
async def test_values_cut_short_are_not_served(redis_url: str, counted: Counted, kept: int) -> None:
    """A frame that lost its end is invalid wherever it was cut."""
    key = a_key()
    async with opened(redis_url) as store, plain_client(redis_url) as client:
        await client.set(name_of(key), pack(ANSWER, key=key)[:kept], ex=60)

        assert await store.get(key) is None
    assert 1 == counted("rackfit_cache_lookups_total", tier="redis", outcome="invalid")


async def test_a_foreign_type_under_our_key_is_a_miss(redis_url: str, counted: Counted) -> None:
    """A list under our key is refused by the server, a miss, and replaced by the next answer."""
    key = a_key()
    async with opened(redis_url) as store, plain_client(redis_url) as client:
        await client.rpush(name_of(key), b"one", b"two")
        assert await store.get(key) is None

        await stored(store, key)
        assert ANSWER == await store.get(key)
    assert 1 == counted("rackfit_redis_errors_total", operation="get", kind="refused")


async def test_a_value_as_large_as_allowed_is_kept_and_a_larger_one_is_not(
    redis_url: str, counted: Counted
) -> None:
    """The size limit holds to the byte, framing included."""
    room = MAX_VALUE_BYTES - len(pack(CachedAnswer.of(b"", "a/b"), key=b""))
    largest, too_large = (CachedAnswer.of(b"x" * (room + more), "a/b") for more in (0, 1))
    one, other = a_key(), a_key()
    async with opened(redis_url) as store:
        await stored(store, one, largest)
        await stored(store, other, too_large)

        assert largest == await store.get(one)
        assert await store.get(other) is None
    assert 1 == counted("rackfit_cache_writes_total", tier="redis", outcome="oversized")


async def test_writes_wait_in_a_bounded_backlog(own_redis: RedisServer, counted: Counted) -> None:
    """Writes return at once; those beyond the backlog are dropped and counted."""
    async with opened(own_redis.url) as store:
        own_redis.pause()
        for _ in range(10):
            store.put(a_key(), ANSWER)

        assert LIMITS.max_pending_writes == store.state.pending_operations
        own_redis.resume()
        await written(store)
    assert 6 == counted("rackfit_cache_writes_total", tier="redis", outcome="dropped")
    assert 4 == counted("rackfit_cache_writes_total", tier="redis", outcome="stored")


async def test_closing_lets_pending_writes_end(redis_url: str) -> None:
    """What was put before closing is there afterwards."""
    key = a_key()
    async with opened(redis_url) as store:
        store.put(key, ANSWER)

    async with opened(redis_url) as store:
        assert ANSWER == await store.get(key)


async def test_a_caller_that_leaves_does_no_harm(own_redis: RedisServer) -> None:
    """A look-up cancelled while it waits is no failure of Redis and costs no connection."""
    key = a_key()
    async with opened(own_redis.url) as store:
        await stored(store, key)
        own_redis.pause()
        lookups = [asyncio.create_task(store.get(key)) for _ in range(40)]
        await asyncio.sleep(0.05)
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        own_redis.resume()

        assert "closed" == store.state.circuit
        assert [ANSWER] * 40 == await asyncio.gather(*(store.get(key) for _ in range(40)))


async def test_a_failure_of_ours_is_a_miss_too_and_is_logged(
    redis_url: str, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an error nobody foresaw in the client becomes a miss, under a name of its own."""

    def broken(*_: object) -> Awaitable[bytes]:
        raise ZeroDivisionError

    async with opened(redis_url) as store:
        monkeypatch.setattr(Redis, "getrange", broken)
        with structlog.testing.capture_logs() as logged:
            assert await store.get(a_key()) is None

    assert ["redis_unexpected_error"] == [entry["event"] for entry in logged]
    assert 1 == counted("rackfit_redis_errors_total", operation="get", kind="unexpected")
