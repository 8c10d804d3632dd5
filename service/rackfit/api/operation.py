"""What an operation of the API is: routes, the contract and its tests all derive from these.

A resource file (`models.py`, `plans.py`, ...) exports its operations and `operations.py` lists
them all. `run` is a plain function without I/O, so that it can run on the event loop or in a
worker process alike.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import inspect

from rackfit.access.callers import Scope
from rackfit.api.answers import Ready
from rackfit.settings import Settings
from rackfit.silicon.package import VERSION
from rackfit.wording import opened

if TYPE_CHECKING:
    from rackfit.catalog import Catalog
    from rackfit.silicon import SiliconTables

JSON = "application/json"
MESSAGE_PACK = "application/msgpack"
TEXT = "text/plain"
NEGOTIATED = (JSON, MESSAGE_PACK, TEXT)
"""What every answer but a `Document` is offered in, the first by default."""

Tag = Literal["models", "memory", "plans", "experts", "inventories", "catalog", "service"]
BodyLimit = Literal["body_limit_bytes", "model_body_limit_bytes", "plan_body_limit_bytes"]


class Context(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What operations may use beside their input.

    `tables` are those of measured kernels, where their package is installed. `expired` tells
    whether the request's time is up. `operations` is the whole API and
    `condition` reports on the serving process, for the operations about the service itself.
    """

    settings: Settings
    catalog: "Catalog"
    tables: "SiliconTables | None" = None
    expired: Callable[[], bool]
    operations: "tuple[Operation, ...]"
    condition: Callable[[], Ready]

    @property
    def variant(self) -> str:
        """All that can change an answer beside version and catalog: part of each cache key."""
        return self.settings.variant + (VERSION or "")


class Document(msgspec.Struct, frozen=True):
    """An answer that exists in one media type only and is sent as it is."""

    content: bytes
    media_type: str


class Search(msgspec.Struct, frozen=True):
    """What a plan search did, for the metrics."""

    outcome: Literal["feasible", "infeasible", "incomplete"]
    splits: int


def as_indented_json(answer: object) -> str:
    """Render an answer that has no table of its own for people."""
    return msgspec.json.format(msgspec.json.encode(answer)).decode() + "\n"


class Operation(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One operation: what it is called, what it takes, what it answers.

    Attributes:
        id: the OpenAPI operation id.
        path: the template; `{id}` of a model stands for one or two segments.
        run: takes the context, the path's parameters, the decoded query (None where `query`
            is) and the decoded body (None where `body` is); returns an `answer`.
        answer: type of the answer; `Document` where it has a media type of its own.
        media_types: what the answer is offered in, the first by default.
        query: a frozen struct, one field a parameter; sequences are comma-separated.
        body: a struct to decode, or `bytes` for a body passed on as it is.
        body_limit: the setting that bounds the body.
        heavy: may take more than a few milliseconds, so never runs on the event loop.
        is_large: tells a query and body that make an operation heavy that usually is not.
        scope: what a caller must be allowed, where callers are asked who they are; None: nobody
            is asked.
        cacheable: answers may be kept, shared and given an ETag.
        is_complete: tells an answer cut short by a deadline, which is never kept.
        search: what the metrics record of an answer that took a search.
        statuses: what it can answer beside `COMMON_STATUSES` and those its shape implies.
        text: renders an answer as `text/plain`, at most 80 columns wide.
        headers: sent with every answer, beside those all answers have.
    """

    id: str
    method: Literal["GET", "POST"]
    path: str
    tag: Tag
    summary: str
    description: str
    run: Callable[[Context, Mapping[str, str], Any, Any], Any]
    answer: type
    media_types: tuple[str, ...] = NEGOTIATED
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | type[bytes] | None = None
    body_media_types: tuple[str, ...] = (JSON,)
    body_limit: BodyLimit = "body_limit_bytes"
    heavy: bool = False
    is_large: Callable[[Any, Any], bool] = lambda _query, _body: False
    scope: Scope | None = "read"
    cacheable: bool = True
    is_complete: Callable[[Any], bool] = lambda _: True
    search: Callable[[Any], Search] | None = None
    statuses: tuple[HTTPStatus, ...] = ()
    text: Callable[[Any], str] = as_indented_json
    headers: Mapping[str, str] = {}

    @property
    def all_statuses(self) -> tuple[HTTPStatus, ...]:
        """Every status a request to this path and method can be answered with, ascending."""
        implied = set(self.statuses) | set(COMMON_STATUSES)
        if self.scope is not None:
            implied |= CALLER_STATUSES
        if self.answer is not Document:
            implied.add(HTTPStatus.NOT_ACCEPTABLE)
        if "{" in self.path:
            implied.add(HTTPStatus.NOT_FOUND)
        if self.cacheable:
            implied.add(HTTPStatus.NOT_MODIFIED)
        if self.body is not None:
            implied |= BODY_STATUSES
        if self.query is not None and _has_list(self.query):
            implied.add(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return tuple(sorted(implied))


def _has_list(query: type[msgspec.Struct]) -> bool:
    """Tell whether a parameter is a list, which may be longer than is taken."""
    kinds = (kind for field in inspect.type_info(query).fields for kind in opened(field.type))  # type: ignore[attr-defined]
    return any(isinstance(kind, inspect.VarTupleType) for kind in kinds)


COMMON_STATUSES = (
    HTTPStatus.OK,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""Any operation can answer these: an unknown query parameter alone is a 422, every request has a
deadline, and every head its limits.
"""

CALLER_STATUSES = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""Operations that are not for everybody can answer these too, where keys or rates are set."""

BODY_STATUSES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
"""Operations with a body can answer these too."""
