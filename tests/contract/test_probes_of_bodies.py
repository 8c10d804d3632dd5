"""Raw probes of bodies: numbers, encodings, nesting, types and limits.

What no client library would send, byte for byte, to the service running for real.
"""

import json
import socket
from collections.abc import Callable

import pytest

from contract.probing import (
    MODEL,
    NODES,
    QUESTION,
    ask,
    chunked,
    padded,
    problem,
    request,
    spelled,
    target_of,
)
from rackfit.api.operation import Operation
from rackfit.api.operations import OPERATIONS
from rackfit.settings import MIB, Settings
from serving import Service, read_reply


def test_different_bodies_have_different_answers(served: Service) -> None:
    """The cache's key covers the body."""
    short = ask(served, "/v1/memory", spelled(QUESTION))
    long = ask(served, "/v1/memory", spelled(QUESTION | {"workload": {"context_tokens": 8192}}))
    assert (200, 200) == (short.status, long.status)
    assert json.loads(short.body)["kv_cache_bytes"] < json.loads(long.body)["kv_cache_bytes"]


# --- STACK: numbers


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        ("4096", 200),
        ("4096.0", 200),
        ("4.096e3", 200),
        ('"4096"', 422),
        ("4096.5", 422),
        ("0", 422),
        ("-1", 422),
        ("true", 422),
        ("1e400", 422),
        ("99999999999999999999", 422),
        ("NaN", 400),
        ("Infinity", 400),
        ("0x10", 400),
    ],
)
def test_an_integer_is_a_number_without_fraction(
    served: Service, spelling: str, status: int
) -> None:
    """JSON Schema's integers are taken, whatever else looks like one is not."""
    body = spelled(QUESTION).replace(b"4096", spelling.encode())
    assert status == ask(served, "/v1/memory", body).status


@pytest.mark.parametrize("spelling", ['"0.1"', '"1e3"', '"nan"', '"inf"', "1e999", "null"])
def test_a_float_is_a_finite_number(served: Service, spelling: str) -> None:
    """Numeric strings and what is not finite are refused at the field."""
    body = spelled(QUESTION | {"overhead": "X"}).replace(b'"X"', spelling.encode())
    errors = problem(ask(served, "/v1/memory", body), 422)["errors"]
    assert isinstance(errors, list)
    assert "/overhead" == errors[0]["pointer"]


# --- STACK: text that is no text, nesting without end


def test_invalid_utf_8_is_malformed(served: Service) -> None:
    """Bytes that are no UTF-8 are the caller's mistake."""
    body = spelled(QUESTION).replace(b"DeepSeek", b"Deep\xffSeek")
    assert "not valid UTF-8" in str(problem(ask(served, "/v1/memory", body), 400)["detail"])


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"model":{"config":{"a":' + b"[" * 9])
@pytest.mark.parametrize("target", ["/v1/memory", "/v1/memory/batch", "/v1/plans"])
def test_a_hundred_thousand_brackets_are_refused(
    served: Service, target: str, opening: bytes
) -> None:
    """Nesting without end is refused, closed or not, and the service lives on."""
    assert ask(served, target, opening * 20_000).status in (400, 422)
    assert 200 == served.raw(request("GET", "/health/live")).status


@pytest.mark.parametrize("depth", [100, 400, 900, 1200, 5000])
@pytest.mark.parametrize("target", ["/v1/memory", "/v1/memory/batch"])
def test_a_config_nested_deeper_than_any_is_refused(
    served: Service, target: str, depth: int
) -> None:
    """Well-formed JSON of any depth gets a 4xx, or a refusal in its batch."""
    config = b'{"model":{"config":{"a":%b%b}},"workload":{"context_tokens":1}}'
    body = config % (b"[" * depth, b"]" * depth)
    if target.endswith("batch"):
        reply = ask(served, target, b'{"requests":[' + body + b"]}")
        refused = reply.status in (400, 422) or json.loads(reply.body)["results"][0]["status"]
        assert refused in (True, 422)
    else:
        assert ask(served, target, body).status in (400, 422)


# --- STACK: content types, encodings, missing bodies


@pytest.mark.parametrize(
    "header",
    [
        "X-None: 1",
        "Content-Type: ",
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: application/json; charset=utf-16",
        "Content-Type: application/msgpack",
        "Content-Type: application/problem+json",
        "Content-Type: application/json\r\nContent-Encoding: gzip",
    ],
)
def test_a_body_that_is_not_json_is_unsupported(served: Service, header: str) -> None:
    """What the body is not said to be is not guessed."""
    sent = request("POST", "/v1/memory", header, body=spelled(QUESTION), typed=False)
    document = problem(served.raw(sent), 415)
    assert "urn:rackfit:problem:unsupported-media-type" == document["type"]


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: application/json",
        "Content-Type: APPLICATION/JSON",
        'Content-Type: application/json; charset="UTF-8"',
        "Content-Type: application/json;charset=utf-8\r\nContent-Encoding: identity",
    ],
)
def test_json_is_recognised_however_it_is_named(served: Service, header: str) -> None:
    """Case and charset do not matter."""
    sent = request("POST", "/v1/memory", header, body=spelled(QUESTION), typed=False)
    assert 200 == served.raw(sent).status


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body], ids=lambda o: o.id)
def test_a_missing_body_is_malformed(served: Service, operation: Operation) -> None:
    """Neither no body nor an empty one is a question."""
    target = target_of(operation) + ("?format=kubernetes" if operation.query else "")
    assert 400 == served.raw(request("POST", target)).status
    assert 400 == ask(served, target, b"").status


# --- limits


def test_a_body_is_read_up_to_its_limit_and_not_beyond(served: Service) -> None:
    """The default limit of a mebibyte: 200 at it, 413 one byte above."""
    limit = Settings().body_limit_bytes
    assert MIB == limit
    assert 200 == ask(served, "/v1/memory", padded(QUESTION, limit)).status
    problem(ask(served, "/v1/memory", padded(QUESTION, limit + 1)), 413)


@pytest.mark.parametrize(
    ("target", "limit", "body"),
    [
        ("/v1/memory", 1000, QUESTION),
        ("/v1/models/inspect", 1000, {"model": {"id": MODEL}}),
        ("/v1/memory/batch", 1000, {"requests": [QUESTION]}),
        ("/v1/plans", 2000, QUESTION | {"inventory": {"nodes": NODES}}),
    ],
)
def test_each_limit_is_a_setting(
    small: Service, target: str, limit: int, body: dict[str, object]
) -> None:
    """Just below 200, just above 413; chunked bodies are counted as they come."""
    assert 200 == ask(small, target, padded(body, limit)).status
    assert 413 == ask(small, target, padded(body, limit + 1)).status
    half, rest = padded(body, limit)[:300], padded(body, limit)[300:]
    assert 200 == small.raw(chunked(target, half, rest)).status
    problem(small.raw(chunked(target, half, rest, b" ")), 413)


def test_an_inventory_may_be_larger(served: Service) -> None:
    """Plans take what memory does not: two mebibytes of nodes."""
    nodes = [NODES[0] | {"name": f"node-{n:05}"} for n in range(30_000)]
    body = padded(QUESTION | {"inventory": {"nodes": nodes}}, 2 * MIB)
    assert 200 == ask(served, "/v1/plans", body).status


def test_a_declared_length_above_the_limit_is_refused_unread(served: Service) -> None:
    """The refusal comes before the body does."""
    head = request("POST", "/v1/plans", "Content-Type: application/json")
    sent = head.replace(b"Host", b"Content-Length: 99999999999\r\nHost")
    problem(served.raw(sent), 413)


def test_a_batch_has_a_limit(small: Service) -> None:
    """Three questions are taken, four are not."""
    question = {"model": {"id": "llama"}, "workload": {"context_tokens": 1}}
    body = spelled({"requests": [question] * 3})
    assert [422] * 3 == [
        r["status"] for r in json.loads(ask(small, "/v1/memory/batch", body).body)["results"]
    ]
    refusal = problem(ask(small, "/v1/memory/batch", spelled({"requests": [question] * 4})), 413)
    assert [{"pointer": "/requests", "detail": "4 questions; at most 3 are taken at once."}] == (
        refusal["errors"]
    )


@pytest.mark.parametrize(
    ("target", "pointer", "limit", "body"),
    [
        ("/v1/plans", "/inventory/nodes", 200_000, lambda n: {"inventory": {"nodes": NODES * n}}),
        (
            "/v1/plans",
            "/constraints/accelerators",
            100,
            lambda n: {
                "inventory": {"nodes": NODES},
                "constraints": {"accelerators": ["h200"] * n},
            },
        ),
        ("/v1/memory/batch", "/requests", 1000, lambda n: {"requests": [{}] * n}),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_list_is_taken_up_to_its_limit_and_not_beyond(
    served: Service, target: str, pointer: str, limit: int, body: Callable[[int], object]
) -> None:
    """One item more is a 413 that points at the list and names the limit."""
    base = {} if target.endswith("batch") else QUESTION
    assert 413 != ask(served, target, spelled(base | body(limit))).status
    refusal = problem(ask(served, target, spelled(base | body(limit + 1))), 413)
    (error,) = refusal["errors"]
    assert pointer == error["pointer"]
    assert f"at most {limit:,} " in error["detail"]


@pytest.mark.parametrize("parameter", ["context_tokens", "quantization"])
def test_a_list_in_a_query_has_a_limit(served: Service, parameter: str) -> None:
    """Fifty items are taken, one more is a 413 that names the parameter."""
    item = {"context_tokens": "4096", "quantization": "fp8"}[parameter]
    target = f"/v1/models/{MODEL}/memory?{parameter}="
    assert 200 == served.raw(request("GET", target + ",".join([item] * 50))).status
    refusal = problem(served.raw(request("GET", target + ",".join([item] * 51))), 413)
    expected = {"pointer": f"?{parameter}", "detail": f"`{parameter}` may have at most 50 items."}
    assert [expected] == refusal["errors"]


def test_trailers_are_no_headers(served: Service) -> None:
    """What comes behind a body decides on nothing (RFC 9110, 6.5.1)."""
    plain = chunked("/v1/memory", spelled(QUESTION))
    trailers = b"Accept: text/plain\r\nX-Request-Id: behind\r\nContent-Type: text/plain\r\n\r\n"
    reply = served.raw(plain[:-2] + trailers)
    assert (200, "application/json") == (reply.status, reply.headers["content-type"])
    assert "behind" != reply.headers["x-request-id"]
    assert served.raw(plain).body == reply.body


@pytest.mark.parametrize(
    ("target", "head", "status"),
    [
        ("/v1/memory", "Content-Length: 9999999999", 413),
        ("/v1/nothing", "Content-Length: 99", 404),
        ("/v1/memory", "Transfer-Encoding: chunked", 415),
    ],
)
def test_a_body_that_is_held_back_and_not_asked_for_ends_the_connection(
    served: Service, target: str, head: str, status: int
) -> None:
    """Nobody knows whether it comes all the same; what is asked for is taken as any other."""
    reply = served.raw(request("POST", target, "Expect: 100-continue", head))
    problem(reply, status)
    assert "close" == reply.headers["connection"]


def test_a_body_that_is_asked_for_does_not_end_the_connection(served: Service) -> None:
    """`100 Continue`, then the body, then its answer, then the next."""
    body = spelled(QUESTION)
    asked = request("POST", "/v1/memory", "Expect: 100-continue", body=body)[: -len(body)]
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall(asked)
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == connection.recv(25)
        connection.sendall(body)
        reply = read_reply(connection, method="POST")
        assert (200, None) == (reply.status, reply.headers.get("connection"))
        connection.sendall(request("GET", "/health/live"))
        assert 200 == read_reply(connection).status


def test_a_body_that_does_not_arrive_is_given_up(small: Service) -> None:
    """Half a body and then nothing is a 408, and the connection ends."""
    sent = request("POST", "/v1/memory", body=spelled(QUESTION))
    reply = small.raw(sent[:-10])
    problem(reply, 408)
    assert "close" == reply.headers["connection"]


# --- STACK: HEAD and OPTIONS
