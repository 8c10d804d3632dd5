"""The Redis tier against real servers, well and sick: every failure is a miss, and cheap.

Delay is shown by counting the operations attempted, not by a clock: an operation that was not
attempted cannot have cost anything.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable

import pytest
import structlog.testing
from redis.asyncio import Redis

from counting import Counted
from rackfit.caching.answer import CachedAnswer, pack
from rackfit.caching.circuit import CircuitLimits
from rackfit.caching.redis_link import RedisLimits
from rackfit.caching.redis_store import RedisStore, name_of
from servers import RedisServer, free_port, redis_server

pytestmark = pytest.mark.anyio

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


async def test_a_server_dead_at_start_costs_three_tries_and_then_nothing(counted: Counted) -> None:
    """Refused connections open the circuit after the limit; then nothing is attempted."""
    async with opened(f"redis://127.0.0.1:{free_port()}") as store:
        answers = [await store.get(a_key()) for _ in range(100)]

        assert [None] * 100 == answers
        assert "open" == store.state.circuit
        assert "connection" == store.state.last_error
        assert store.state.last_error_age_seconds is not None
    assert 3 == counted("rackfit_redis_operation_duration_seconds_count", operation="get")
    assert 3 == counted("rackfit_redis_errors_total", operation="get", kind="connection")
    assert 3 == counted("rackfit_cache_lookups_total", tier="redis", outcome="error")
    assert 97 == counted("rackfit_cache_lookups_total", tier="redis", outcome="skipped")


async def test_a_crowd_before_a_dead_server_tries_no_more_than_it_must(counted: Counted) -> None:
    """Those waiting for a connection when the circuit opens do not try any more."""
    async with opened(f"redis://127.0.0.1:{free_port()}") as store:
        answers = await asyncio.gather(*(store.get(a_key()) for _ in range(200)))

    assert [None] * 200 == answers
    attempted = counted("rackfit_redis_operation_duration_seconds_count", operation="get")
    assert NEVER_AGAIN.max_failures <= attempted
    assert attempted <= LIMITS.max_connections + NEVER_AGAIN.max_failures


async def test_a_server_killed_and_restarted_is_used_again(own_redis: RedisServer) -> None:
    """A server that dies is left alone; restarted empty it is found and filled again."""
    key = a_key()
    async with opened(own_redis.url, SOON_AGAIN) as store:
        await stored(store, key)
        own_redis.kill()
        assert [None] * 5 == [await store.get(key) for _ in range(5)]

        own_redis.restart()
        await recovered(store)
        assert await store.get(key) is None
        await stored(store, key)
        assert ANSWER == await store.get(key)


async def test_a_server_restarted_between_two_requests_costs_no_answer(
    own_redis: RedisServer,
) -> None:
    """A connection the server closed while idle is replaced before the next command."""
    key = a_key()
    async with opened(own_redis.url) as store:
        await store.get(a_key())
        own_redis.restart()
        await asyncio.sleep(0.05)
        await stored(store, key)

        assert ANSWER == await store.get(key)


async def test_a_hung_server_costs_one_timeout_and_then_nothing(
    own_redis: RedisServer, counted: Counted
) -> None:
    """A server that stops replying (SIGSTOP) is waited for once."""
    key = a_key()
    async with opened(own_redis.url) as store:
        await stored(store, key)
        own_redis.pause()
        assert [None] * 50 == [await store.get(key) for _ in range(50)]

        assert "timeout" == store.state.last_error
        own_redis.resume()
    assert 1 == counted("rackfit_redis_operation_duration_seconds_count", operation="get")
    assert 49 == counted("rackfit_cache_lookups_total", tier="redis", outcome="skipped")


async def test_a_crowd_before_a_hung_server_waits_one_timeout_together(
    own_redis: RedisServer, counted: Counted
) -> None:
    """Of many concurrent requests only as many as there are connections wait at all."""
    async with opened(own_redis.url) as store:
        own_redis.pause()
        answers = await asyncio.gather(*(store.get(a_key()) for _ in range(200)))

        assert [None] * 200 == answers
        own_redis.resume()
    attempted = counted("rackfit_redis_operation_duration_seconds_count", operation="get")
    assert 1 <= attempted <= LIMITS.max_connections


async def test_a_server_that_goes_on_is_used_again(own_redis: RedisServer) -> None:
    """After SIGCONT the values are still there and are served, without a restart of ours."""
    key = a_key()
    async with opened(own_redis.url, SOON_AGAIN) as store:
        await stored(store, key)
        own_redis.pause()
        assert await store.get(key) is None

        own_redis.resume()
        await recovered(store)
        assert ANSWER == await store.get(key)
        assert "closed" == store.state.circuit


async def test_no_request_waits_for_a_probe(own_redis: RedisServer, counted: Counted) -> None:
    """With the cool-down over, one probe runs behind the requests and they skip Redis."""
    async with opened(own_redis.url, SOON_AGAIN) as store:
        own_redis.pause()
        await store.get(a_key())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(LIMITS.operation_timeout_seconds / 2):
            assert [None] * 100 == [await store.get(a_key()) for _ in range(100)]

        assert "half_open" == store.state.circuit
        await written(store)
        own_redis.resume()
    assert 1 == counted("rackfit_redis_operation_duration_seconds_count", operation="get")
    assert 1 == counted("rackfit_redis_operation_duration_seconds_count", operation="probe")


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_wrong_password_is_a_miss(password: str | None, counted: Counted) -> None:
    """A server that does not let us in is counted as such and left alone."""
    with redis_server(password="right") as server:  # noqa: S106 - lives as long as the test
        credentials = f":{password}@" if password else ""
        async with opened(f"redis://{credentials}127.0.0.1:{server.port}") as store:
            assert [None] * 10 == [await store.get(a_key()) for _ in range(10)]

            assert "authentication" == store.state.last_error
            assert "open" == store.state.circuit
    assert 3 == counted("rackfit_redis_errors_total", operation="get", kind="authentication")


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


async def test_closing_in_front_of_a_hung_server_ends(own_redis: RedisServer) -> None:
    """Closing does not wait for a server that does not reply."""
    async with asyncio.timeout(10), opened(own_redis.url) as store:
        await store.get(a_key())
        own_redis.pause()
        store.put(a_key(), ANSWER)


async def test_a_full_server_is_still_read(counted: Counted) -> None:
    """Refused writes are counted and say nothing against reading what is there."""
    key = a_key()
    with redis_server(options=("--maxmemory-policy", "noeviction")) as server:
        async with opened(server.url) as store, plain_client(server.url) as client:
            await stored(store, key)
            await client.config_set("maxmemory", 1)
            for _ in range(5):
                await stored(store, a_key())

            assert ANSWER == await store.get(key)
            assert "refused" == store.state.last_error
            assert "closed" == store.state.circuit
    assert 5 == counted("rackfit_redis_errors_total", operation="set", kind="refused")
    assert 5 == counted("rackfit_cache_writes_total", tier="redis", outcome="error")


async def test_a_read_only_replica_is_still_read(own_redis: RedisServer, counted: Counted) -> None:
    """A replica serves what it has; writes to it are refused and counted."""
    key = a_key()
    async with opened(own_redis.url) as store, plain_client(own_redis.url) as client:
        await stored(store, key)
        await client.replicaof("127.0.0.1", free_port())
        await stored(store, a_key())

        assert ANSWER == await store.get(key)
        assert "closed" == store.state.circuit
    assert 1 == counted("rackfit_redis_errors_total", operation="set", kind="refused")


async def test_a_server_that_is_no_redis_is_a_miss(counted: Counted) -> None:
    """Bytes that are no Redis protocol are counted as such and change no answer."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(16)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(f"redis://127.0.0.1:{port}") as store:
            assert [None] * 5 == [await store.get(a_key()) for _ in range(5)]
    assert 3 == counted("rackfit_redis_errors_total", operation="get", kind="protocol")


async def test_a_reply_cut_off_is_a_miss(counted: Counted) -> None:
    """A connection reset in the middle of a reply is a failed connection."""

    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(16)
        writer.write(b"$100\r\nhalf of the")
        await writer.drain()
        writer.transport.abort()

    async with await asyncio.start_server(cut_off, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(f"redis://127.0.0.1:{port}") as store:
            assert await store.get(a_key()) is None
    assert 1 == counted("rackfit_redis_errors_total", operation="get", kind="connection")


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
