"""Problem documents (RFC 9457): the one place where errors become HTTP.

`RequestError` is what the edge raises; `as_request_error` turns what the domain raises into it.
The types are stable: within v1 they are only added.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from rackfit import metrics
from rackfit.api.answers import Problem
from rackfit.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    RackfitError,
    TooMany,
    Violation,
)

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = 1
_TYPE_PREFIX = "urn:rackfit:problem:"

KINDS: Final[Mapping[HTTPStatus, tuple[str, str]]] = {
    HTTPStatus.BAD_REQUEST: ("malformed-request", "The request is malformed"),
    HTTPStatus.UNAUTHORIZED: ("unauthorized", "Nobody known asks"),
    HTTPStatus.FORBIDDEN: ("forbidden", "The caller may not ask this"),
    HTTPStatus.NOT_FOUND: ("not-found", "There is nothing at this path"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method-not-allowed", "The path does not take this method"),
    HTTPStatus.NOT_ACCEPTABLE: ("not-acceptable", "No acceptable media type"),
    HTTPStatus.REQUEST_TIMEOUT: ("request-timeout", "The request took too long to arrive"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too-large", "The request is larger than is taken"),
    HTTPStatus.REQUEST_URI_TOO_LONG: ("uri-too-long", "The path and query are too long"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("unsupported-media-type", "The body cannot be read"),
    HTTPStatus.UNPROCESSABLE_ENTITY: ("invalid-input", "The request is well formed but wrong"),
    HTTPStatus.TOO_MANY_REQUESTS: ("too-many-requests", "The caller asks too often"),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("headers-too-large", "The headers are too large"),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("internal-error", "Rackfit failed"),
    HTTPStatus.NOT_IMPLEMENTED: ("not-implemented", "Rackfit does not have this part of HTTP"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("unavailable", "There is no room or time for this now"),
}
"""The last part of each status' problem type, and its title."""


class RequestError(Exception):
    """A request that is answered with a problem document.

    `problem` lacks only what belongs to one request: `instance` and `request_id`. All of it
    is in `args`, so that it survives the way back from a worker process.
    """

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem, headers)
        self.problem = problem
        self.headers = headers or {}

    def __str__(self) -> str:
        return self.problem.detail

    @classmethod
    def of(
        cls,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> "RequestError":
        """Build the error of `status`, with the fields at fault and headers to send along."""
        name, title = KINDS[status]
        problem = Problem(
            type=_TYPE_PREFIX + name,
            title=title,
            status=status,
            detail=detail,
            errors=tuple(errors),
        )
        return cls(problem, headers)


def as_request_error(error: RackfitError) -> RequestError:
    """Turn what the domain raised into what the caller is told."""
    match error:
        case TooMany(violations=violations):
            return RequestError.of(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _summary(violations), errors=violations
            )
        case InvalidInput(violations=violations):
            return RequestError.of(
                HTTPStatus.UNPROCESSABLE_ENTITY, _summary(violations), errors=violations
            )
        case NotFound():
            return RequestError.of(HTTPStatus.NOT_FOUND, str(error))
        case DeadlineExceeded():
            return unavailable("The time for this request was up before it was answered.")
        case _:
            raise error


def unavailable(detail: str) -> RequestError:
    """Build the refusal of a request there is no room or time for; trying again may help."""
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return RequestError.of(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=retry)


def refused(reason: str, detail: str) -> RequestError:
    """Count the refusal of a request there is no room or time for, and build it."""
    metrics.REFUSED.labels(reason).inc()
    return unavailable(detail)


def encode_json(problem: Problem) -> bytes:
    """Encode a problem as `application/problem+json`."""
    return msgspec.json.encode(problem)


def _summary(violations: Sequence[Violation]) -> str:
    if len(violations) == 1:
        return violations[0].detail
    return f"{len(violations)} fields are wrong: {', '.join(v.pointer for v in violations)}."
