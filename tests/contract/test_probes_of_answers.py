"""Raw probes of answers: parameters, negotiation, conditions, connections and logs.

What no client library would send, byte for byte, to the service running for real.
"""

import json
import socket

import pytest

from contract.probing import (
    MODEL,
    QUESTION,
    ask,
    problem,
    request,
    spelled,
)
from serving import Service, read_reply, service


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ("limit=5", 200, None),
        ("limit=5&limit=6", 422, "?limit"),
        ("limit=0", 422, "?limit"),
        ("limit=5.5", 422, "?limit"),
        ("limit=five", 422, "?limit"),
        ("famly=x", 422, "?famly"),
        ("limit=5;offset=1", 422, "?limit"),
        ("family=%zz", 400, None),
        ("family=%FF", 400, None),
        ("&".join(f"p{n}=1" for n in range(200)), 400, None),
    ],
)
def test_a_wrong_parameter_is_named(
    served: Service, query: str, status: int, pointer: str | None
) -> None:
    """Unknown, repeated and ill-typed parameters are a 422 naming them."""
    reply = served.raw(request("GET", f"/v1/models?{query}"))
    assert status == reply.status
    if pointer:
        errors = problem(reply, 422)["errors"]
        assert isinstance(errors, list)
        assert pointer == errors[0]["pointer"]


# --- negotiation


def test_text_is_had_by_asking(served: Service) -> None:
    """Answers and problems come as text to those who prefer that."""
    answer = served.raw(request("GET", f"/v1/models/{MODEL}/memory", "Accept: text/plain"))
    refusal = served.raw(request("GET", "/v1/models/nothing", "Accept: text/plain"))
    assert [200, 404] == [answer.status, refusal.status]
    assert {"text/plain; charset=utf-8"} == {r.headers["content-type"] for r in (answer, refusal)}
    assert {"Accept"} == {r.headers["vary"] for r in (answer, refusal)}
    assert refusal.body.startswith(b"404 ")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/problem+json, text/plain;q=0.5", "application/problem+json"),
        ("application/json, text/plain;q=0.5", "application/problem+json"),
        ("application/problem+json;q=0.1, text/plain", "text/plain; charset=utf-8"),
        ("text/*", "text/plain; charset=utf-8"),
    ],
)
def test_problems_are_negotiated_by_their_own_type(served: Service, accept: str, kind: str) -> None:
    """Whoever asks for problem documents by name gets them."""
    reply = served.raw(request("GET", "/nothing", f"Accept: {accept}"))
    assert (404, kind) == (reply.status, reply.headers["content-type"])


def test_an_accept_header_is_read_to_its_end(served: Service) -> None:
    """What is asked for behind a thousand characters counts as well."""
    accept = "Accept: " + "image/png, " * 200 + "text/plain"
    reply = served.raw(request("GET", "/v1/version", accept))
    assert "text/plain; charset=utf-8" == reply.headers["content-type"]


def test_callers_of_message_pack_get_problems_as_json(served: Service) -> None:
    """There is no MessagePack for problem documents."""
    sent = request("GET", "/v1/models/nothing", "Accept: application/msgpack")
    problem(served.raw(sent), 404)


def test_what_cannot_be_had_is_not_acceptable(served: Service) -> None:
    """Nothing acceptable is a 406; documents of one type alone are not negotiated."""
    problem(served.raw(request("GET", "/v1/version", "Accept: text/html")), 406)
    assert 200 == served.raw(request("GET", "/metrics", "Accept: application/json")).status


# --- answers that are much larger than questions


def test_a_batch_does_not_answer_without_end(served: Service) -> None:
    """A hundred kilobytes of questions are not a gigabyte of ranks."""
    split = {"tensor": 8, "pipeline": 8, "data": 4, "replicas": 64}
    questions = [QUESTION | {"split": split}] * 1000
    reply = ask(served, "/v1/memory/batch", spelled({"requests": questions}))
    results = json.loads(reply.body)["results"]
    assert [200] * 4 + [422] * 996 == [result["status"] for result in results]
    assert "65,536 ranks already" in results[-1]["problem"]["detail"]


# --- JSON that says something twice


def test_of_members_of_one_name_the_last_counts(served: Service) -> None:
    """As most parsers have it, and as the contract says."""
    twice = spelled(QUESTION).replace(b"4096", b'1, "context_tokens": 4096')
    expected = ask(served, "/v1/memory", spelled(QUESTION))
    assert (200, expected.body) == (ask(served, "/v1/memory", twice).status, expected.body)
    assert "the last counts" in served.raw(request("GET", "/openapi.json")).body.decode()


# --- what is kept


def test_nothing_is_said_to_be_stored_that_is_not() -> None:
    """Without room in the cache an answer is computed each time."""
    with service(RACKFIT_CACHE_BYTES="0") as running:
        replies = [running.raw(request("GET", "/v1/quantizations")) for _ in range(2)]
    assert {"rackfit; fwd=miss"} == {reply.headers["cache-status"] for reply in replies}


@pytest.mark.parametrize("given", ["*", 'W/"x", %s', "%s"])
def test_if_none_match_means_to_post_what_it_means_to_get(served: Service, given: str) -> None:
    """304 to who has the answer already, or asks whether there is any."""
    tag = ask(served, "/v1/memory", spelled(QUESTION)).headers["etag"]
    header = f"If-None-Match: {given.replace('%s', tag)}"
    assert 304 == ask(served, "/v1/memory", spelled(QUESTION), header).status


# --- connections


def test_refusals_leave_the_connection_usable(served: Service) -> None:
    """A body that was refused unread does not become the next request."""
    refused = request(
        "POST", "/v1/memory", "Content-Type: text/plain", body=spelled(QUESTION), typed=False
    )
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall(refused)
        assert 415 == read_reply(connection).status
        connection.sendall(request("GET", "/v1/version"))
        assert 200 == read_reply(connection).status


def test_http_1_0_is_served(served: Service) -> None:
    """Old probes work."""
    assert 200 == served.raw(b"GET /health/live HTTP/1.0\r\n\r\n").status


def test_every_response_carries_the_common_headers(served: Service) -> None:
    """Answers, refusals and dead ends alike have an id and forbid guessing their type."""
    sent = [
        request("GET", "/v1/version"),
        request("GET", "/nothing"),
        request("OPTIONS", "/v1/plans"),
        request("POST", "/v1/plans", body=b"{"),
        request("GET", "/metrics"),
    ]
    for reply in map(served.raw, sent):
        assert "nosniff" == reply.headers["x-content-type-options"]
        assert reply.headers["x-request-id"]
        assert "server" not in reply.headers


def test_a_log_line_cannot_be_forged(served: Service) -> None:
    """A line feed in a path stays what it was in the request."""
    target = '/x%0a{"event":"forged"}'.replace('"', "%22")
    served.raw(request("GET", target, "X-Request-Id: forger"))
    assert target == served.logged("request", request_id="forger")["path"]
    assert not [line for line in served.log if line.get("event") == "forged"]
