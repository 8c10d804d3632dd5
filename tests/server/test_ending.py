"""The end of a service under load: answers or refusals, in order, within the time granted."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asking import LONG, get, long_question
from serving import Reply, Service, service

GRANTED_SECONDS = 10


def is_under_way(running: Service, requests: int) -> None:
    """Wait until so many requests are being answered, over all processes."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        metrics = running.raw(get("/metrics")).body.decode()
        found = [x for x in metrics.splitlines() if x.startswith("rackfit_http_requests_in_pro")]
        if sum(float(line.rpartition(" ")[2]) for line in found) > requests:  # and this one
            return
        time.sleep(0.05)
    raise AssertionError(metrics)


def is_answered_or_refused(reply: Reply) -> bool:
    """Tell whether a reply is an answer, the best so far, or a problem that says to try again."""
    document = json.loads(reply.body)
    if reply.status == 200:
        return bool(document["complete"]) == ("etag" in reply.headers)
    return (503, "1", 503) == (reply.status, reply.headers["retry-after"], document["status"])


@pytest.mark.parametrize(("workers", "how"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_plans_under_way_are_answered_or_refused_in_time(
    tmp_path: Path, workers: str, how: signal.Signals
) -> None:
    """Searches that would take longer are cut short, those that wait are refused.

    Nothing is left in the temporary directory, neither metrics nor the workers' sockets.
    """
    started = service(RACKFIT_WORKERS=workers, TMPDIR=str(tmp_path))
    with started as running, ThreadPoolExecutor(8) as threads:
        asked = [long_question(number) for number in range(8)]
        replies = [threads.submit(running.raw, one) for one in asked]
        is_under_way(running, len(asked))
        told = time.monotonic()
        running.process.send_signal(how)
        assert all(is_answered_or_refused(reply.result()) for reply in replies)
        assert 0 == running.process.wait(GRANTED_SECONDS)
        assert time.monotonic() - told < GRANTED_SECONDS
    assert not [line for line in running.log if "Traceback" in str(line)]
    statuses = [x["status"] for x in running.log if x.get("route") == LONG]
    assert sorted(reply.result().status for reply in replies) == sorted(statuses)
    assert {200, 503} >= set(statuses) >= {503}
    assert [] == list(tmp_path.iterdir())


def test_a_body_on_its_way_is_refused_in_time() -> None:
    """It does not arrive before the end, so it may be sent again elsewhere."""
    sent = long_question()
    with service() as running, ThreadPoolExecutor() as threads:
        reply = threads.submit(running.raw, sent[:-10])
        is_under_way(running, 1)
        running.process.send_signal(signal.SIGTERM)
        assert is_answered_or_refused(reply.result())
        assert 0 == running.process.wait(GRANTED_SECONDS)


def test_readiness_fails_first() -> None:
    """While it does, requests are still answered, and connections are not kept."""
    with service() as running:
        ready = running.raw(get("/health/ready"))
        running.process.send_signal(signal.SIGTERM)
        failed = running.raw(get("/health/ready"))
        while failed.status == 200:  # until it has been told, or refuses connections
            failed = running.raw(get("/health/ready"))
        answered = running.raw(get("/v1/version"))
        assert 0 == running.process.wait(GRANTED_SECONDS)
    assert (200, 503, 200) == (ready.status, failed.status, answered.status)
    assert "close" == answered.headers["connection"]
    assert "connection" not in ready.headers


def test_idle_connections_do_not_delay_the_end() -> None:
    """Half a head and a connection kept alive are ended with the service."""
    with service() as running:
        address = ("127.0.0.1", running.port)
        with socket.create_connection(address) as half, socket.create_connection(address) as kept:
            half.sendall(b"GET / HT")
            kept.sendall(get("/v1/version"))
            kept.recv(1000)
            told = time.monotonic()
            assert 0 == running.stop()
    assert time.monotonic() - told < 5
