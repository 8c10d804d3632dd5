"""The Redis tier against real servers that are sick: every failure is a miss, and cheap.

Delay is shown by counting the operations attempted, not by a clock: an operation that was not
attempted cannot have cost anything.
"""

import asyncio

import pytest

from caching.storing import (
    ANSWER,
    LIMITS,
    NEVER_AGAIN,
    SOON_AGAIN,
    a_key,
    opened,
    plain_client,
    recovered,
    stored,
    written,
)
from counting import Counted
from servers import RedisServer, free_port, redis_server

pytestmark = pytest.mark.anyio


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
