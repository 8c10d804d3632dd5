"""What an operation answers: every status that can happen, its media types and headers."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import chain

import msgspec

from rackfit.api.answers import Problem
from rackfit.api.guard import NO_CREDENTIALS, TOO_OFTEN
from rackfit.api.openapi.examples import Example, Examples, content_examples
from rackfit.api.openapi.links import links
from rackfit.api.openapi.schemas import Schema, reference
from rackfit.api.operation import JSON, TEXT, Document, Operation
from rackfit.api.problems import KINDS, PROBLEM_JSON, RequestError
from rackfit.api.refusing import refusal

HEADERS: Mapping[str, Schema] = {
    "Allow": {"description": "The methods the path takes.", "schema": {"type": "string"}},
    "Cache-Control": {
        "description": "`no-cache` (keep it, but ask again) or `no-store`.",
        "schema": {"type": "string", "enum": ["no-cache", "no-store"]},
    },
    "Cache-Status": {
        "description": "Where the answer came from (RFC 9211), such as `rackfit; hit`.",
        "schema": {"type": "string", "pattern": "^rackfit; "},
    },
    "Content-Security-Policy": {
        "description": "What the page may load: nothing from anywhere.",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "Names these bytes; left out of an answer that must not be kept.",
        "schema": {"type": "string", "pattern": '^"[0-9a-zA-Z_-]+"$'},
    },
    "Retry-After": {
        "description": "Seconds after which trying again may help.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Vary": {
        "description": "The request headers that decide on the answer.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "What is wrong with the credential that was shown, if one was (RFC 6750).",
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
    "X-Request-Id": {
        "description": "The id this request has in the log.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
}
ANSWER_HEADERS = ("Cache-Control", "Cache-Status", "X-Request-Id")
PROBLEM_HEADERS = ("Cache-Control", "Vary", "X-Request-Id")
OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
    HTTPStatus.FORBIDDEN: ("WWW-Authenticate",),
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After",),
    HTTPStatus.METHOD_NOT_ALLOWED: ("Allow",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After",),
}

UNRECORDED: Mapping[HTTPStatus, str] = {
    HTTPStatus.UNAUTHORIZED: NO_CREDENTIALS,
    HTTPStatus.FORBIDDEN: "This needs the scope `plan`, which 'dashboard' does not have.",
    HTTPStatus.TOO_MANY_REQUESTS: TOO_OFTEN,
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive within 10 seconds.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The path and query are longer than 16,384 bytes.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request's head is larger than 32,768 bytes.",
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        "Rackfit failed to answer this; the log has the reason under this request id."
    ),
    HTTPStatus.NOT_IMPLEMENTED: (
        "No path takes the method `BREW`; OPTIONS lists in Allow what one takes."
    ),
}
"""What is said where no well-meant request can be recorded."""


def responses(operation: Operation, examples: Mapping[str, Example]) -> Schema:
    """Return every response of an operation, by status."""
    return {str(int(s)): _response(operation, s, examples) for s in operation.all_statuses}


def _response(operation: Operation, status: HTTPStatus, examples: Mapping[str, Example]) -> Schema:
    match status:
        case HTTPStatus.OK:
            return _answer(operation, examples)
        case HTTPStatus.NOT_MODIFIED:
            return {"$ref": "#/components/responses/not-modified"}
        case _ if status in _without_example(operation, examples):
            return {"$ref": f"#/components/responses/{KINDS[status][0]}"}
        case _:
            return _problem(status, examples)


def _answer(operation: Operation, examples: Mapping[str, Example]) -> Schema:
    response: Schema = {
        "description": operation.summary,
        "headers": _headers(_answer_headers(operation)),
        "content": {
            media_type: _content(operation, media_type, examples)
            for media_type in operation.media_types
        },
    }
    found = links(operation)
    return response | {"links": found} if found else response


def _answer_headers(operation: Operation) -> Iterable[str]:
    yield from ANSWER_HEADERS
    if operation.cacheable:
        yield "ETag"
    if operation.answer is not Document:
        yield "Vary"
    yield from operation.headers


def _content(operation: Operation, media_type: str, examples: Mapping[str, Example]) -> Schema:
    if operation.answer is Document or media_type == TEXT:
        schema: Schema = {"type": "object" if media_type == JSON else "string"}
    else:
        schema = reference(operation.answer)
    return _with_examples(schema, content_examples(examples, HTTPStatus.OK, media_type))


def _problem(status: HTTPStatus, examples: Mapping[str, Example]) -> Schema:
    """Return the response of a status that is a problem."""
    as_json = content_examples(examples, status, PROBLEM_JSON) or _unrecorded(status)
    as_text = content_examples(examples, status, TEXT)
    return {
        "description": KINDS[status][1],
        "headers": _headers((*PROBLEM_HEADERS, *OF_STATUS.get(status, ()))),
        "content": {
            PROBLEM_JSON: _with_examples(reference(Problem), as_json),
            TEXT: _with_examples({"type": "string"}, as_text),
        },
    }


def _unrecorded(status: HTTPStatus) -> Mapping[str, object]:
    """Return an example of a status that none was recorded of, spelled as the service does."""
    if status not in UNRECORDED:
        return {}
    error = RequestError.of(status, UNRECORDED[status])
    response = refusal(error, path="/v1/plans", request_id="5f2b8c1e9d3a4f70", accept="")
    name, title = KINDS[status]
    return {name: {"summary": title, "value": msgspec.json.decode(response.content)}}


def _with_examples(schema: Schema, examples: Mapping[str, object]) -> Schema:
    return {"schema": schema, "examples": examples} if examples else {"schema": schema}


def _headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}


def shared_responses(operations: Iterable[Operation], examples: Examples) -> Schema:
    """Return the responses operations share; their examples are those of any operation."""
    every = dict(chain.from_iterable(cases.items() for cases in examples.values()))
    used = {s for o in operations for s in _without_example(o, examples.get(o.id, {}))}
    problems = {KINDS[status][0]: _problem(status, every) for status in used & KINDS.keys()}
    unchanged = {
        "description": "The caller has this answer already.",
        "headers": _headers((*ANSWER_HEADERS, "ETag")),
    }
    return dict(sorted({**problems, "not-modified": unchanged}.items()))


def _without_example(operation: Operation, examples: Mapping[str, Example]) -> set[HTTPStatus]:
    """Return the statuses of an operation that none of its own examples shows."""
    return set(operation.all_statuses) - {HTTPStatus(e.status) for e in examples.values()}
