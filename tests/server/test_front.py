"""Kept answers come in front of the framework, and nobody can tell but by the time it takes.

Each request is sent thrice over: with its body late, so that the framework answers it, whole, so
that the front may, and again and again, so that it need not be parsed. The replies must be the
same.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from asking import get
from rackfit.access.keys import new_key
from serving import ANSWER_SECONDS, Reply, Service, parsed, read_reply, service

BODY = json.dumps(
    {"model": {"id": "Qwen/Qwen3-32B"}, "workload": {"context_tokens": 4096}}
).encode()
JSON = "Content-Type: application/json"
OF_ONE = {"x-request-id", "date"}
"""Headers that differ from reply to reply."""

LATE_SECONDS = 0.03
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OFTEN = 5
"""Once for the connection, once new, once remembered, and then some."""


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[Service]:
    with service() as started:
        yield started


def head(*headers: str, length: int | None = len(BODY), method: str = "POST") -> bytes:
    """Spell a request's head."""
    declared = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join(
        [f"{method} /v1/memory HTTP/1.1", "Host: t", *headers, *declared, "", ""]
    ).encode()


def whole(running: Service, start: bytes, body: bytes) -> Reply:
    """Send head and body at once."""
    return running.raw(start + body)


def again(running: Service, start: bytes, body: bytes) -> Reply:
    """Send the whole on one connection until it is answered from its bytes alone."""
    with socket.create_connection(("127.0.0.1", running.port), ANSWER_SECONDS) as connection:
        for _ in range(OFTEN):
            connection.sendall(start + body)
            reply = read_reply(connection, method="POST")
            if reply.headers.get("connection") == "close":
                break
        return reply


def late(running: Service, start: bytes, body: bytes) -> Reply:
    """Send the body once the head has been read."""
    with socket.create_connection(("127.0.0.1", running.port), ANSWER_SECONDS) as connection:
        connection.sendall(start)
        time.sleep(LATE_SECONDS)
        connection.sendall(body)
        return read_reply(connection, method="POST")


def shown(reply: Reply) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return what must not differ, headers in their order."""
    headers = [pair for pair in reply.headers.items() if pair[0] not in OF_ONE]
    problem = reply.headers.get("content-type") == "application/problem+json"
    body = json.loads(reply.body) | {"request_id": ""} if problem else reply.body
    return reply.status, headers, json.dumps(body).encode() if problem else reply.body


CASES = {
    "json": head(JSON, "Accept: application/json"),
    "anything": head(JSON, "Accept: */*"),
    "nothing said": head(JSON),
    "text": head(JSON, "Accept: text/plain"),
    "message pack": head(JSON, "Accept: application/msgpack"),
    "not to be had": head(JSON, "Accept: image/png"),
    "two accepts": head(JSON, "Accept: text/plain", "Accept: application/json;q=0.5"),
    "utf-8": head("Content-Type: application/json; charset=utf-8"),
    "latin-1": head("Content-Type: application/json; charset=latin-1"),
    "xml": head("Content-Type: application/xml"),
    "no type": head(),
    "two types": head(JSON, "Content-Type: text/csv"),
    "compressed": head(JSON, "Content-Encoding: gzip"),
    "not compressed": head(JSON, "Content-Encoding: identity"),
    "known to the caller": head(JSON, "If-None-Match: *"),
    "of another tag": head(JSON, 'If-None-Match: "x"'),
    "traced": head(JSON, "traceparent: " + TRACE),
    "in a hurry": head(JSON, "X-Request-Timeout: 2.5"),
    "in no time": head(JSON, "X-Request-Timeout: 0"),
    "in two times": head(JSON, "X-Request-Timeout: 1", "X-Request-Timeout: 2"),
    "closing": head(JSON, "Connection: close"),
    "another protocol": head(JSON, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    "put": head(JSON, method="PUT"),
}


@pytest.mark.parametrize("case", CASES)
def test_all_ways_answer_alike(case: str, running: Service) -> None:
    """Status, headers in their order and body, to the byte."""
    start = CASES[case]
    whole(running, start, BODY)  # from here on it is kept, if it ever is
    expected = shown(late(running, start, BODY))
    assert expected == shown(whole(running, start, BODY))
    assert expected == shown(again(running, start, BODY))


def test_a_kept_answer_is_told_as_one(running: Service) -> None:
    """In its headers, in the metrics and in the log, once each."""
    start = head(JSON, "X-Request-Id: in-front")
    whole(running, start, BODY)
    before = counted(running)
    reply = whole(running, start, BODY)
    assert reply.headers["cache-status"] == "rackfit; hit; detail=memory"
    assert reply.headers["x-request-id"] == "in-front"
    assert counted(running) == before + 1
    line = running.logged("request", request_id="in-front", cache="memory")
    assert (line["route"], line["status"]) == ("/v1/memory", 200)
    assert line["sent_bytes"] == len(reply.body)


def counted(running: Service) -> int:
    """Return how many kept answers the metrics count."""
    wanted = 'rackfit_http_requests_total{cache="memory",method="POST",route="/v1/memory"'
    lines = running.raw(get("/metrics")).body.decode().splitlines()
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted)))


@pytest.mark.anyio
async def test_requests_that_follow_each_other_are_answered_in_turn(running: Service) -> None:
    """On one connection, kept ones beside those that are computed."""
    other = BODY.replace(b"4096", b"4097")
    requests = [head(JSON) + BODY, head(JSON) + other, head(JSON) + BODY]
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"".join(requests))
    replies = [await parsed(reader) for _ in requests]
    writer.close()
    await writer.wait_closed()
    assert [200] * 3 == [reply.status for reply in replies]
    assert replies[0].body == replies[2].body != replies[1].body


def test_whoever_asks_is_counted_once_whether_it_is_kept_or_not() -> None:
    """Three questions are three, though the first way to answer hands two of them on."""
    with service(RACKFIT_RATE_LIMIT_PER_SECOND="0.01", RACKFIT_RATE_LIMIT_BURST="4") as limited:
        bodies = [BODY, BODY, BODY.replace(b"4096", b"4098"), BODY, BODY]
        statuses = [whole(limited, head(JSON), body).status for body in bodies]
    assert [200, 200, 200, 200, 429] == statuses


def test_an_old_client_gets_a_kept_answer_and_the_end_of_the_connection(running: Service) -> None:
    """HTTP/1.0 keeps no connection."""
    whole(running, head(JSON), BODY)
    start = head(JSON).replace(b"HTTP/1.1", b"HTTP/1.0")
    with socket.create_connection(("127.0.0.1", running.port), ANSWER_SECONDS) as connection:
        connection.sendall(start + BODY)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    answered, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in answered
    assert json.loads(body)["total_bytes"] > 0


def test_a_kept_answer_is_for_those_who_may_have_it(tmp_path: Path) -> None:
    """Keys, scopes and rates are asked for before anything is looked up."""
    (reader, first), (planner, second) = new_key("r", ["read"]), new_key("p", ["plan"])
    (tmp_path / "keys").write_text(f"{first}\n{second}\n")
    with service(
        RACKFIT_API_KEYS_FILE=str(tmp_path / "keys"),
        RACKFIT_RATE_LIMIT_PER_SECOND="0.01",
        RACKFIT_RATE_LIMIT_BURST="3",
    ) as guarded:
        asked = [f"Authorization: Bearer {key}" for key in (planner, planner, reader)]
        statuses = [whole(guarded, head(JSON, one), BODY).status for one in asked]
        strangers = whole(guarded, head(JSON), BODY).status
        rest = [whole(guarded, head(JSON, asked[0]), BODY).status for _ in range(2)]
    assert ([200, 200, 403], 401, [200, 429]) == (statuses, strangers, rest)


def test_what_comes_again_is_told_like_any_other(running: Service) -> None:
    """Each is counted, timed and logged once, under an id of its own unless it brings one."""
    again(running, head(JSON), BODY)
    before = counted(running)
    with socket.create_connection(("127.0.0.1", running.port), ANSWER_SECONDS) as connection:
        replies = []
        for _ in range(OFTEN):
            connection.sendall(head(JSON) + BODY)
            replies.append(read_reply(connection, method="POST"))
    assert counted(running) == before + OFTEN
    ids = {reply.headers["x-request-id"] for reply in replies}
    assert len(ids) == OFTEN
    lines = [running.logged("request", request_id=one) for one in ids]
    assert {("memory", 200, "/v1/memory", "POST", len(replies[0].body))} == {
        (line["cache"], line["status"], line["route"], line["method"],
         line["sent_bytes"]) for line in lines
    }  # fmt: skip
    named = head(JSON, "X-Request-Id: my-own", "traceparent: " + TRACE)
    assert "my-own" == again(running, named, BODY).headers["x-request-id"]
    assert running.logged("request", request_id="my-own")["trace_id"] == TRACE.split("-")[1]


def test_who_asks_again_is_asked_for_a_key_again(tmp_path: Path) -> None:
    """A key that is taken back, and a rate that is used up, end it at once."""
    (key, stored), (other, kept) = new_key("r", ["plan"]), new_key("s", ["plan"])
    keys = tmp_path / "keys"
    keys.write_text(f"{stored}\n{kept}\n")
    with service(RACKFIT_API_KEYS_FILE=str(keys)) as guarded:
        start = head(JSON, f"Authorization: Bearer {key}")
        reply = again(guarded, start, BODY)
        assert (200, "rackfit; hit; detail=memory") == (
            reply.status,
            reply.headers["cache-status"],
        )
        assert "r" == guarded.logged("request", cache="memory", caller="r")["caller"]
        keys.write_text(f"{kept}\n")
        deadline = time.monotonic() + ANSWER_SECONDS
        while again(guarded, start, BODY).status == 200 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert 401 == again(guarded, start, BODY).status
        assert 200 == again(guarded, head(JSON, f"Authorization: Bearer {other}"), BODY).status


def test_what_comes_again_counts_against_the_rate() -> None:
    """A question asked again is a question."""
    with (
        service(RACKFIT_RATE_LIMIT_PER_SECOND="0.01", RACKFIT_RATE_LIMIT_BURST="6") as limited,
        socket.create_connection(("127.0.0.1", limited.port), ANSWER_SECONDS) as connection,
    ):
        statuses = []
        for _ in range(7):
            connection.sendall(head(JSON) + BODY)
            statuses.append(read_reply(connection, method="POST").status)
    assert [200] * 6 + [429] == statuses


def plan(tokens: int, nodes: int = 4) -> bytes:
    """Spell a request for a plan."""
    kinds = ("NVIDIA-H200", "NVIDIA-B200", "NVIDIA-H100-80GB-HBM3")
    named = [
        {"name": f"n{n}", "accelerator": kinds[n % 3], "count": 8, "free_bytes": [n << 20] * 8}
        for n in range(nodes)
    ]
    question = {
        "model": {"id": "deepseek-v4-pro"},
        "workload": {"context_tokens": tokens, "sequences": 4},
        "inventory": {"nodes": named},
    }
    body = json.dumps(question).encode()
    return head(JSON, length=len(body)).replace(b"/v1/memory", b"/v1/plans") + body


def test_what_is_new_is_refused_at_once_where_there_is_no_room() -> None:
    """What is kept is answered all the same; a large question, in many pieces, is refused alike."""
    found = threading.Event()
    refusals: dict[int, Reply] = {}

    def keep_busy(narrow: Service, first: int) -> None:
        for tokens in range(first, first + 1000):
            if found.is_set():
                break
            assert narrow.raw(plan(tokens, nodes=100)).status in {200, 503}

    with (
        service(RACKFIT_COMPUTE_PROCESSES="1", RACKFIT_COMPUTE_QUEUE="1") as narrow,
        ThreadPoolExecutor(3) as busy,
    ):
        assert 200 == narrow.raw(plan(1000)).status
        work = [busy.submit(keep_busy, narrow, first) for first in (2000, 4000, 6000)]
        try:
            for tokens, nodes in product(range(10_000, 11_000), (4, 2000)):
                asked, kept = narrow.raw(plan(tokens, nodes)), narrow.raw(plan(1000))
                assert "rackfit; hit; detail=memory" == kept.headers["cache-status"]
                if asked.status == 503:
                    refusals[nodes] = asked
                if len(refusals) == 2:
                    break
        finally:
            found.set()
        for refused in refusals.values():
            assert "1" == refused.headers["retry-after"]
            assert "connection" not in refused.headers
            assert "/v1/plans" == json.loads(refused.body)["instance"]
            line = narrow.logged("request", request_id=refused.headers["x-request-id"])
            assert (503, "/v1/plans", "none") == (line["status"], line["route"], line["cache"])
        assert {4, 2000} == set(refusals)
        assert [None] * 3 == [done.result() for done in work]
