"""Raw probes of heads: methods, headers, paths and what is no HTTP.

What no client library would send, byte for byte, to the service running for real.
"""

import socket
from functools import partial

import pytest

from contract.probing import (
    MODEL,
    problem,
    request,
    target_of,
)
from rackfit.api.operation import Operation
from rackfit.api.operations import OPERATIONS
from rackfit.server.bounds import MAX_WAITING
from serving import Service


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if o.method == "GET"], ids=lambda o: o.id
)
def test_head_answers_wherever_get_does(served: Service, operation: Operation) -> None:
    """HEAD has GET's status and headers, and no body."""
    target = target_of(operation)
    got = served.raw(request("GET", target))
    head = served.raw(request("HEAD", target))
    assert (200, 200, b"") == (got.status, head.status, head.body)
    assert got.headers["content-type"] == head.headers["content-type"]
    if operation.cacheable:
        assert got.headers["etag"] == head.headers["etag"]
        assert got.headers["content-length"] == head.headers["content-length"]


@pytest.mark.parametrize("path", sorted({o.path for o in OPERATIONS}))
def test_options_and_405_list_every_method(served: Service, path: str) -> None:
    """Allow is complete over all of a path's operations."""
    operations = [o for o in OPERATIONS if o.path == path]
    methods = {o.method for o in operations} | {"OPTIONS"}
    expected = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    options = served.raw(request("OPTIONS", target_of(operations[0])))
    assert (204, expected, b"") == (options.status, options.headers["allow"], options.body)
    refused = served.raw(request("DELETE", target_of(operations[0])))
    problem(refused, 405)
    assert expected == refused.headers["allow"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "PROPFIND", "LINK"])
def test_any_other_method_is_not_allowed(served: Service, method: str) -> None:
    """Methods the service has no use for are refused in full."""
    assert "OPTIONS, POST" == served.raw(request(method, "/v1/plans")).headers["allow"]


@pytest.mark.parametrize("method", ["BREW", "get", "POSTS", "DESCRIBE", "x" * 40])
def test_a_method_nobody_knows_is_named(served: Service, method: str) -> None:
    """It is no malformed HTTP (RFC 9110, 9.1); no method is a label or a line of its own."""
    reply = served.raw(request(method, "/v1/plans"))
    refusal = problem(reply, 501)
    assert f"`{method}`" in str(refusal["detail"])
    assert "close" == reply.headers["connection"]
    line = served.logged("request", request_id=refusal["request_id"], status=501)
    assert "other" == line["method"]


def test_a_method_without_end_is_not_repeated(served: Service) -> None:
    """No answer grows with it."""
    assert "xxx" not in str(problem(served.raw(request("x" * 41, "/v1/plans")), 400))


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/v1/plans", "/v1/plans"),
        (f"/v1/models/{MODEL}", "/v1/models/{id}"),
        (f"/v1/models/{MODEL}/memory", "/v1/models/{id}/memory"),
        ("/v1/models/inspect", "/v1/models/inspect"),
        ("/v1/accelerators/NVIDIA-H200", "/v1/accelerators/{id}"),
        ("/health/live", "/health/live"),
    ],
)
def test_a_method_too_many_is_counted_with_its_route(
    served: Service, target: str, route: str
) -> None:
    """The path is there, whatever it does not take."""
    reply = served.raw(request("DELETE", target))
    request_id = reply.headers["x-request-id"]
    assert route == served.logged("request", request_id=request_id, status=405)["route"]


# --- STACK: patterns, unmatched paths


@pytest.mark.parametrize("given", ["a\r\n b", "a\nX-Evil: 1", "a\rb", "a\0b"])
def test_a_header_cannot_be_split(served: Service, given: str) -> None:
    """A line feed, folded or bare, ends the request and not the response's header."""
    reply = served.raw(request("GET", "/health/live", f"X-Request-Id: {given}"))
    problem(reply, 400)
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
def test_a_sound_request_id_is_kept(served: Service, given: str) -> None:
    """The caller's id is on the response and in the log."""
    reply = served.raw(request("GET", "/nothing", f"X-Request-Id: {given}"))
    assert given == reply.headers["x-request-id"] == problem(reply, 404)["request_id"]
    assert 404 == served.logged("request", request_id=given)["status"]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "é", "<script>"])
def test_an_unsound_request_id_is_replaced(served: Service, given: str) -> None:
    """Nothing but letters, digits, dots, dashes and underscores is repeated."""
    reply = served.raw(request("GET", "/health/live", f"X-Request-Id: {given}"))
    assert 16 == len(reply.headers["x-request-id"])


@pytest.mark.parametrize(
    "target",
    ["/", "/v1", "/v2/plans", "/v1/plans/1", "/v1/models/a/b/c", "/v1/models/a/b/memory/x", "/%00"],
)
def test_a_path_that_leads_nowhere_is_a_problem_and_counted(served: Service, target: str) -> None:
    """404 is a problem document, and unmatched paths are one label."""
    assert "/openapi.json" in str(problem(served.raw(request("GET", target)), 404)["detail"])
    metrics = served.raw(request("GET", "/metrics")).body.decode()
    assert (
        'rackfit_http_requests_total{cache="none",method="GET",route="unmatched",status="404"}'
        in metrics
    )


def test_unknown_methods_are_one_label(served: Service) -> None:
    """No caller can make labels."""
    served.raw(request("PROPFIND", "/v1/plans"))
    metrics = served.raw(request("GET", "/metrics")).body.decode()
    assert 'method="other"' in metrics
    assert "PROPFIND" not in metrics


# --- paths


@pytest.mark.parametrize("spelling", [MODEL, MODEL.replace("/", "%2F"), MODEL.replace("/", "%2f")])
@pytest.mark.parametrize("suffix", ["", "/memory", "/", "/memory/", "?", "/memory?"])
def test_an_id_with_a_slash_is_found_raw_and_encoded(
    served: Service, spelling: str, suffix: str
) -> None:
    """Both spellings, and a trailing slash, name the same model."""
    reply = served.raw(request("GET", f"/v1/models/{spelling}{suffix}"))
    expected = served.raw(request("GET", f"/v1/models/{MODEL}{suffix.strip('/?') and '/memory'}"))
    assert (200, expected.body) == (reply.status, reply.body)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/%zz",
        "/v1/models/%",
        "/v1/models/%ff",
        "/v1/models/%0a",
        "/v1/models/" + "x" * 5000,
    ],
)
def test_an_id_that_makes_no_sense_is_not_found(served: Service, target: str) -> None:
    """Broken escapes, controls and endless names are names nothing answers to."""
    document = problem(served.raw(request("GET", target)), 404)
    assert len(str(document["detail"])) < 400


@pytest.mark.parametrize(
    "target",
    ["/v1/models/..", "/v1/../v1/models", "//v1/models/../x", "/v1/models/a%2f..%2f..%2fb"],
)
def test_dots_climb_nowhere(served: Service, target: str) -> None:
    """Dots are names like any other."""
    problem(served.raw(request("GET", target)), 404)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/models/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_400(served: Service, sent: bytes) -> None:
    """The server answers what it cannot read, and lives on; it is counted and logged, once."""
    before = len(served.log)
    refusal = problem(served.raw(sent), 400)
    assert 400 == served.logged("request", request_id=refusal["request_id"])["status"]
    assert {"request"} == {line["event"] for line in served.log[before:]}
    assert 200 == served.raw(request("GET", "/health/live")).status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET", "/v1/models?family=" + "x" * 70_000), 414),
        (request("GET", "/health/live", "X: " + "x" * 40_000), 431),
        (request("GET", "/v1/version", "Accept: " + "a/b, " * 1000), 431),
        (request("POST", "/v1/plans", "Transfer-Encoding: gzip, chunked"), 501),
        (request("POST", "/v1/plans", "Transfer-Encoding: chunked", "Content-Length: 5"), 400),
        (request("POST", "/v1/plans", "Content-Length: 5", "Content-Length: 6"), 400),
        (request("POST", "/v1/plans", "Content-Length: five"), 400),
        (
            request(
                "POST",
                "/v1/memory",
                "X-Request-Id: mine",
                "Content-Type: application/json",
                "Transfer-Encoding: chunked",
            )
            + b"2\r\n{}}\r\n",
            400,
        ),
    ],
    ids=lambda given: repr(given[:40]) if isinstance(given, bytes) else given,
)
def test_what_the_server_refuses_by_itself_is_a_problem_too(
    served: Service, sent: bytes, status: int
) -> None:
    """With a request id, counted and logged; the caller's own id where it could be read."""
    refusal = problem(served.raw(sent), status)
    assert status == served.logged("request", request_id=refusal["request_id"])["status"]
    assert b"mine" not in sent or "mine" == refusal["request_id"]


def test_more_requests_at_once_than_may_wait_are_refused(served: Service) -> None:
    """Those before are answered, and the refusal says when to try again."""
    with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
        connection.sendall(request("GET", "/v1/version") * 200)
        answers = b"".join(iter(partial(connection.recv, 65536), b"")).split(b"HTTP/1.1 ")
    assert [b"200"] * (1 + MAX_WAITING) + [b"503"] == [answer[:3] for answer in answers[1:]]
    assert b"retry-after: 1\r\n" in answers[-1]


def test_a_malformed_host_is_a_problem(served: Service) -> None:
    """What the framework refuses by itself is a problem document too."""
    problem(served.raw(b"GET /v1/version HTTP/1.1\r\nHost: a/b c\r\n\r\n"), 400)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/version HTTP/1.1\r\n\r\n",
        b"GET /v1/version HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /v1/version HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
        b"POST /v1/memory HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_request_without_its_one_host_is_refused(served: Service, sent: bytes) -> None:
    """RFC 9112, 3.2: none in HTTP/1.1, or several, is a 400, whatever the path takes."""
    assert "Host" in str(problem(served.raw(sent), 400)["detail"])


@pytest.mark.parametrize(
    "sent",
    [b"GET /v1/version HTTP/1.0\r\n\r\n", b"GET /v1/version HTTP/1.1\r\nHost:\r\n\r\n"],
)
def test_older_requests_need_no_host_and_others_may_leave_it_empty(
    served: Service, sent: bytes
) -> None:
    """There is but one host here."""
    assert 200 == served.raw(sent).status


def test_blanks_around_a_header_are_none_of_its_value(served: Service) -> None:
    """RFC 9110, 5.5."""
    blank = " \t "
    reply = served.raw(
        request(
            "GET", "/v1/version", f"X-Request-Id:{blank}a{blank}", f"X-Request-Timeout: 2{blank}"
        )
    )
    assert (200, "a") == (reply.status, reply.headers["x-request-id"])


# --- queries
