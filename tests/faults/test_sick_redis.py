"""The whole service before a Redis that is sick in every way: no answer changes, and none waits.

Between them stands a proxy, which counts what Redis is asked; what was not asked cost nothing. The
service keeps nothing of its own, so that every request would need Redis if any did.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from redis import Redis

from asking import get, post
from faults.proxy import Mode, Proxy, proxy
from servers import RedisServer, redis_server
from serving import Reply, Service, service

REQUESTS = 25
"""Asked while Redis is sick; each would cost a timeout, were it asked."""

MOST_ASKED = 12
"""What a sick Redis may be asked meanwhile: a few failures, a probe or two. Each request takes
two or three commands of a well one."""

PATIENCE_SECONDS = 20.0


def question(number: int) -> bytes:
    """Spell one of many questions with answers of their own."""
    return post(
        "/v1/memory",
        {"model": {"id": "Qwen/Qwen3-32B"}, "workload": {"context_tokens": 1000 + number}},
    )


@pytest.fixture(scope="module", name="expected")
def _expected() -> Iterator[list[bytes]]:
    """What a service without any Redis answers."""
    with service() as alone:
        yield [alone.raw(question(number)).body for number in range(REQUESTS)]


class Stack(NamedTuple):
    """A service, the Redis it names, and the proxy between them."""

    running: Service
    redis: RedisServer
    between: Proxy


@pytest.fixture(scope="module", name="stack")
def _stack() -> Iterator[Stack]:
    with ExitStack() as opened:
        redis = opened.enter_context(redis_server())
        between = opened.enter_context(proxy(redis.port))
        running = opened.enter_context(
            service(
                RACKFIT_REDIS_URL=f"redis://127.0.0.1:{between.port}/0",
                RACKFIT_CACHE_BYTES="0",
                RACKFIT_REDIS_COOLDOWN_SECONDS="0.2",
            )
        )
        yield Stack(running, redis, between)


def asked_all(running: Service) -> list[Reply]:
    """Ask every question once."""
    return [running.raw(question(number)) for number in range(REQUESTS)]


def redis_state(running: Service) -> dict[str, object]:
    """Return what readiness tells of Redis; the service is ready whatever that is."""
    reply = running.raw(get("/health/ready"))
    assert reply.status == 200
    state: dict[str, object] = json.loads(reply.body)["cache"]["redis"]
    return state


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_hit(running: Service) -> bool:
    """Tell whether Redis answers again, having been asked for the same thing twice."""
    return "hit; detail=redis" in running.raw(question(0)).headers["cache-status"]


def metric(running: Service, name: str) -> float:
    """Return a metric's value, over all its labels."""
    lines = running.raw(get("/metrics")).body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


BY_PROXY: tuple[Mode, ...] = ("closed", "silent", "late", "cut", "garbage")


@pytest.mark.parametrize("mode", BY_PROXY)
def test_a_sick_connection_changes_no_answer(
    mode: Mode, stack: Stack, expected: list[bytes]
) -> None:
    """Refused, silent, half a second late, cut off in a reply, or nonsense; then well again."""
    wait_for(lambda: is_hit(stack.running))
    errors = metric(stack.running, "rackfit_redis_errors_total")
    stack.between.turn(mode)
    before = stack.between.asked
    replies = asked_all(stack.running)

    assert [(200, body) for body in expected] == [(r.status, r.body) for r in replies]
    assert stack.between.asked - before <= MOST_ASKED
    assert metric(stack.running, "rackfit_redis_circuit_state") == 2
    assert metric(stack.running, "rackfit_redis_errors_total") > errors
    assert redis_state(stack.running)["last_error"] in {"connection", "timeout", "protocol"}

    stack.between.turn("pass")
    wait_for(lambda: is_hit(stack.running))
    assert metric(stack.running, "rackfit_redis_circuit_state") == 0


def test_a_server_that_is_paused_changes_no_answer(stack: Stack, expected: list[bytes]) -> None:
    """The kernel goes on accepting what nobody reads."""
    wait_for(lambda: is_hit(stack.running))
    stack.redis.pause()
    before = stack.between.asked
    try:
        replies = asked_all(stack.running)
    finally:
        stack.redis.resume()
    assert [(200, body) for body in expected] == [(r.status, r.body) for r in replies]
    assert stack.between.asked - before <= MOST_ASKED
    wait_for(lambda: is_hit(stack.running))


def test_a_server_that_is_killed_and_comes_back_empty(stack: Stack, expected: list[bytes]) -> None:
    """What it held is computed again; nothing needs a restart."""
    wait_for(lambda: is_hit(stack.running))
    stack.redis.kill()
    assert expected == [reply.body for reply in asked_all(stack.running)]
    stack.redis.restart()
    wait_for(lambda: is_hit(stack.running))
    assert expected == [reply.body for reply in asked_all(stack.running)]


INVALID = 'rackfit_cache_lookups_total{outcome="invalid"'
SPOILT = {
    "foreign": lambda _: b"not ours",
    "empty": lambda _: b"",
    "cut": lambda value: value[:-1],
    "longer": lambda value: value + b"x",
    "one bit": lambda value: value[:60] + bytes([value[60] ^ 1]) + value[61:],
    "of a later release": lambda value: value[:4] + bytes([value[4] + 1]) + value[5:],
    "pickled": lambda _: b"cos\nsystem\n(S'exit 1'\ntR.",
}


@pytest.mark.parametrize("how", SPOILT)
def test_spoilt_values_are_computed_anew(how: str, stack: Stack, expected: list[bytes]) -> None:
    """Whatever stands under our keys, it is verified before it is believed, and replaced."""
    with Redis(port=stack.redis.port) as client:
        client.flushall()  # the only value is that of the question below
        wait_for(lambda: is_hit(stack.running))
        (name, *_) = [key for key in client.scan_iter() if client.type(key) == b"string"]
        client.set(name, SPOILT[how](client.get(name)))
    invalid = metric(stack.running, INVALID)
    reply = stack.running.raw(question(0))
    assert (reply.status, reply.body) == (200, expected[0])
    assert "fwd=miss" in reply.headers["cache-status"]
    assert metric(stack.running, INVALID) == invalid + 1
    wait_for(lambda: is_hit(stack.running))


@pytest.mark.parametrize(
    "options",
    [
        ("--maxmemory", "1", "--maxmemory-policy", "noeviction"),
        ("--requirepass", "another"),
        ("--rename-command", "SET", ""),
    ],
    ids=["full", "wrong password", "no permission"],
)
def test_a_server_that_refuses_changes_no_answer(
    options: tuple[str, ...], expected: list[bytes]
) -> None:
    """No room, no right: answers are computed, and the service stays ready."""
    with ExitStack() as opened:
        redis = opened.enter_context(redis_server(options=options))
        url = f"redis://:wrong@127.0.0.1:{redis.port}" if "another" in options else redis.url
        running = opened.enter_context(service(RACKFIT_REDIS_URL=url, RACKFIT_CACHE_BYTES="0"))
        replies = asked_all(running)
        assert [(200, body) for body in expected] == [(r.status, r.body) for r in replies]
        # Nobody waits for what Redis says to a write.
        wait_for(lambda: redis_state(running)["last_error"] in {"refused", "authentication"})


def test_a_replica_that_takes_no_writes_changes_no_answer(expected: list[bytes]) -> None:
    """Writes are refused there, reads are not."""
    with ExitStack() as opened:
        master = opened.enter_context(redis_server())
        replica = opened.enter_context(
            redis_server(options=("--replicaof", "127.0.0.1", str(master.port)))
        )
        running = opened.enter_context(
            service(RACKFIT_REDIS_URL=replica.url, RACKFIT_CACHE_BYTES="0")
        )
        assert expected == [reply.body for reply in asked_all(running)]
        writer = opened.enter_context(
            service(RACKFIT_REDIS_URL=master.url, RACKFIT_CACHE_BYTES="0")
        )
        wait_for(lambda: is_hit(writer))
        wait_for(lambda: is_hit(running))


def test_two_releases_share_a_redis_and_never_an_answer(stack: Stack) -> None:
    """A key holds the settings, the version and the catalog that an answer came from."""
    wait_for(lambda: is_hit(stack.running))
    with service(
        RACKFIT_REDIS_URL=stack.redis.url, RACKFIT_CACHE_BYTES="0", RACKFIT_DEVICE_RESERVE="0.2"
    ) as other:
        mine, theirs = stack.running.raw(question(0)), other.raw(question(0))
    assert "hit" in mine.headers["cache-status"]
    assert "fwd=miss" in theirs.headers["cache-status"]
