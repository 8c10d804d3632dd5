"""Several servers on one Redis: equal requests at once are computed once."""

import asyncio
import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from asking import NODES, QUESTION, get, long_question, post
from servers import RedisServer
from serving import Reply, Service, parsed, service

REQUESTS = 1000
PLAN = QUESTION | {"inventory": {"nodes": NODES[:200]}}


async def asked(port: int, sent: bytes) -> Reply:
    """Ask on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    reply = await parsed(reader)
    writer.close()
    return reply


def count(running: Service, cache: str) -> float:
    """Return how many plans a server answered from a source."""
    lines = running.raw(get("/metrics")).body.decode().splitlines()
    wanted = f'rackfit_http_requests_total{{cache="{cache}",method="POST",route="/v1/plans"'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


@pytest.mark.anyio
async def test_a_thousand_equal_requests_on_three_servers_compute_once(
    own_redis: RedisServer,
) -> None:
    """Twice at most, and all have the same bytes and tag."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(service(RACKFIT_REDIS_URL=own_redis.url)) for _ in range(3)]
        ports = [servers[n % 3].port for n in range(REQUESTS)]
        replies = await asyncio.gather(*(asked(port, post("/v1/plans", PLAN)) for port in ports))
        computed = sum(count(server, "computed") for server in servers)
    assert {200} == {reply.status for reply in replies}
    assert 1 == len({(reply.body, reply.headers["etag"]) for reply in replies})
    assert 1 <= computed <= 2


def test_another_computes_when_the_first_dies(own_redis: RedisServer) -> None:
    """Its lease runs out soon after, long before the waiting request's time does."""
    with (
        service(RACKFIT_REDIS_URL=own_redis.url) as first,
        service(RACKFIT_REDIS_URL=own_redis.url, RACKFIT_REQUEST_TIMEOUT_SECONDS="8") as second,
        ThreadPoolExecutor() as threads,
    ):
        lost = threads.submit(first.raw, long_question())
        assert is_soon_computing(first)
        waiting = threads.submit(second.raw, long_question())
        time.sleep(0.5)
        assert b'"in_progress":0' in second.raw(get("/health/ready")).body
        os.kill(first.process.pid, signal.SIGKILL)
        assert lost.exception() is not None
        assert is_soon_computing(second)
        assert waiting.result().status in (200, 503)  # in the time that was left


def is_soon_computing(running: Service) -> bool:
    """Tell whether a computation begins within a few seconds."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if b'"in_progress":1' in running.raw(get("/health/ready")).body:
            return True
        time.sleep(0.02)
    return False
