"""Raw-socket probes: what no client library would send, and what frameworks get wrong.

Each is sent byte for byte to the service running for real. STACK refers to the traps measured
in the framework's defaults.
"""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rackfit.api.operation import Operation
from rackfit.api.operations import OPERATIONS
from rackfit.settings import MIB, Settings
from serving import Reply, Service, read_reply, service

MODEL = "deepseek-ai/DeepSeek-V3"
QUESTION = {"model": {"id": MODEL}, "workload": {"context_tokens": 4096}}
NODES = [{"name": "a", "accelerator": "h200", "count": 8}]


@pytest.fixture(scope="module")
def served() -> Iterator[Service]:
    """Run the service with its default settings."""
    with service() as running:
        yield running


@pytest.fixture(scope="module")
def small() -> Iterator[Service]:
    """Run the service with small limits."""
    with service(
        RACKFIT_BODY_LIMIT_BYTES="1000",
        RACKFIT_MODEL_BODY_LIMIT_BYTES="1000",
        RACKFIT_PLAN_BODY_LIMIT_BYTES="2000",
        RACKFIT_BATCH_LIMIT="3",
        RACKFIT_REQUEST_TIMEOUT_SECONDS="1",
    ) as running:
        yield running


def request(
    method: str, target: str, *headers: str, body: bytes | None = None, typed: bool = True
) -> bytes:
    """Spell a request; a body comes with its length and, unless told otherwise, as JSON."""
    lines = [f"{method} {target} HTTP/1.1", "Host: rackfit.test", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
        if typed:
            lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def chunked(target: str, *chunks: bytes) -> bytes:
    """Spell a POST whose body comes in chunks, its length nowhere declared."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = request("POST", target, "Content-Type: application/json", "Transfer-Encoding: chunked")
    return head + framed + b"0\r\n\r\n"


def ask(running: Service, target: str, body: bytes, *headers: str) -> Reply:
    """POST a JSON body."""
    return running.raw(request("POST", target, *headers, body=body))


def spelled(value: object) -> bytes:
    """Spell a body."""
    return json.dumps(value).encode()


def padded(value: object, size: int) -> bytes:
    """Spell a body of exactly `size` bytes: JSON may end in white space."""
    return spelled(value).ljust(size)


def problem(reply: Reply, status: int) -> dict[str, Any]:
    """Return the problem document of a reply, which must be one of `status`."""
    assert status == reply.status, reply
    assert "application/problem+json" == reply.headers["content-type"]
    document: dict[str, Any] = json.loads(reply.body)
    assert status == document["status"]
    assert reply.headers["x-request-id"] == document["request_id"]
    return document


def target_of(operation: Operation) -> str:
    """Return a path of an operation."""
    return operation.path.replace(
        "{id}", MODEL if operation.path.startswith("/v1/models") else "NVIDIA-H200"
    )


# --- STACK: two POSTs with different bodies to a cached route


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


def test_a_body_that_does_not_arrive_is_given_up(small: Service) -> None:
    """Half a body and then nothing is a 408, and the connection ends."""
    sent = request("POST", "/v1/memory", body=spelled(QUESTION))
    reply = small.raw(sent[:-10])
    problem(reply, 408)
    assert "close" == reply.headers["connection"]


# --- STACK: HEAD and OPTIONS


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


def test_a_method_nobody_knows_ends_the_connection(served: Service) -> None:
    """What is no HTTP is answered as far as it can be."""
    problem(served.raw(request("BREW", "/v1/plans")), 400)


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
    """The server answers what it cannot read, and lives on; it is counted and logged."""
    refusal = problem(served.raw(sent), 400)
    assert 400 == served.logged("request", request_id=refusal["request_id"])["status"]
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


def test_a_malformed_host_is_a_problem(served: Service) -> None:
    """What the framework refuses by itself is a problem document too."""
    problem(served.raw(b"GET /v1/version HTTP/1.1\r\nHost: a/b c\r\n\r\n"), 400)


# --- queries


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
