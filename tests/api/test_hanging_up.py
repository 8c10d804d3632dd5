"""Callers that hang up stop costing."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from asking import LONG, QUESTION, get, long_question, post
from serving import Service, service


@pytest.fixture
def served() -> Iterator[Service]:
    """Run the service with one process that computes."""
    with service(RACKFIT_REQUEST_TIMEOUT_SECONDS="60") as running:
        yield running


def in_progress(running: Service) -> int:
    """Return how many computations run or wait."""
    ready = json.loads(running.raw(get("/health/ready")).body)
    count: int = ready["compute"]["in_progress"]
    return count


def comes_to(running: Service, expected: int, seconds: float) -> bool:
    """Tell whether that many computations are in progress soon."""
    deadline = time.monotonic() + seconds
    while in_progress(running) != expected:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_plans_nobody_waits_for_leave_the_pool(served: Service) -> None:
    """Those that wait leave at once, the one that runs is cut short; honest requests have room."""
    address = ("127.0.0.1", served.port)
    connections = [socket.create_connection(address) for _ in range(70)]
    for number, connection in enumerate(connections):
        connection.sendall(long_question(number))
    assert comes_to(served, 65, 20)
    for connection in connections:
        connection.close()
    assert comes_to(served, 0, 10)
    small = QUESTION | {"inventory": {"nodes": [{"name": "a", "accelerator": "h200", "count": 8}]}}
    assert 200 == served.raw(post("/v1/plans", small)).status
    assert 499 == served.logged("request", route=LONG, status=499)["status"]


def test_a_plan_somebody_else_waits_for_goes_on(served: Service) -> None:
    """The first caller hanging up does not take the answer from the second."""
    address = ("127.0.0.1", served.port)
    with socket.create_connection(address) as first, socket.create_connection(address) as second:
        first.sendall(long_question())
        assert comes_to(served, 1, 10)
        second.sendall(long_question())
        time.sleep(0.3)
        first.close()
        time.sleep(0.7)
        assert 1 == in_progress(served)
    assert comes_to(served, 0, 10)
