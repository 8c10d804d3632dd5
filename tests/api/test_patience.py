"""How long a caller waits: `X-Request-Timeout`, from the header to the search."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asking import long_question
from contract.probing import problem, request
from rackfit.api.patience import patience, read_seconds
from rackfit.api.problems import RequestError
from serving import ANSWER_SECONDS, Reply, Service, read_reply, service

SECONDS = 20.0
HURRY = 0.5
GRACE = 5.0
"""What a search, told that time is up, and a machine with other things to do may take more."""


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[Service]:
    with service(RACKFIT_REQUEST_TIMEOUT_SECONDS=str(SECONDS)) as started:
        yield started


def scope(*values: bytes) -> Any:  # noqa: ANN401 - as much of one as is looked at
    """Return a request with such headers."""
    return {"headers": [(b"x-request-timeout", value) for value in values]}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(b"2.5", 2.5), (b"7", 7.0), (b"1e-3", 0.001), (b"3600", 10.0), (b"1e999", 10.0)],
)
def test_a_request_takes_what_it_asks_for_up_to_the_limit(given: bytes, seconds: float) -> None:
    """More than the service gives is cut to that."""
    assert seconds == patience(scope(given), 10.0)


def test_a_request_without_the_header_takes_what_the_service_gives() -> None:
    """As before."""
    assert 10.0 == patience(scope(), 10.0)


WRONG = ["", "0", "0.0", "-1", "+1", "1,5", "1 s", "soon", "nan", "inf", "0x1", "1_0", "1e-999"]


@pytest.mark.parametrize("given", [*WRONG, "1" * 41, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_what_is_no_time_is_refused(given: str) -> None:
    """The sentence names the header."""
    spelled = given.encode()
    assert read_seconds(spelled) is None
    with pytest.raises(RequestError, match="X-Request-Timeout") as raised:
        patience(scope(spelled), 10.0)
    assert 400 == raised.value.problem.status


@pytest.mark.parametrize("target", ["/v1/version", "/v1/models"])
def test_every_operation_reads_it(running: Service, target: str) -> None:
    """Heavy or not: rubbish is refused, no time left is a 503."""
    refused = running.raw(request("GET", target, "X-Request-Timeout: soon"))
    assert "X-Request-Timeout" in str(problem(refused, 400)["detail"])
    late = running.raw(request("GET", target, "X-Request-Timeout: 1e-12"))
    problem(late, 503)
    assert 200 == running.raw(request("GET", target, "X-Request-Timeout: 5")).status


def hurried(number: int) -> bytes:
    """Return a search that takes longer than its caller waits."""
    start, _, rest = long_question(number).partition(b"\r\n")
    return start + b"\r\nX-Request-Timeout: %g\r\n" % HURRY + rest


def seconds_of(running: Service, sent: bytes) -> tuple[Reply, float]:
    """Ask, and tell how long that took."""
    began = time.monotonic()
    return running.raw(sent), time.monotonic() - began


def test_a_search_ends_when_its_caller_wants_it(running: Service) -> None:
    """Long before the service's own limit, with the best there is or a refusal."""
    reply, seconds = seconds_of(running, hurried(1))
    assert seconds < HURRY + GRACE < SECONDS
    assert "etag" not in reply.headers
    if reply.status == 200:
        assert b'"complete":false' in reply.body
    else:
        problem(reply, 503)


def test_one_in_a_hurry_does_not_wait_for_an_equal_request(running: Service) -> None:
    """Which goes on: it is still computed when the other has been refused or answered."""
    address = ("127.0.0.1", running.port)
    with socket.create_connection(address, ANSWER_SECONDS) as patient:
        patient.sendall(long_question(2))
        time.sleep(HURRY)
        _, seconds = seconds_of(running, hurried(2))
        assert seconds < HURRY + GRACE
        patient.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            patient.recv(1)
        patient.settimeout(ANSWER_SECONDS + SECONDS)
        assert 200 == read_reply(patient, method="POST").status
