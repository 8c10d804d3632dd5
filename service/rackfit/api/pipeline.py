"""The one way every request takes: negotiate, read, answer, and say where it came from."""

from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response

from rackfit.api.answering import Answering, Given, Question, Source
from rackfit.api.body import read_body
from rackfit.api.closing import Closing
from rackfit.api.conditional import is_current
from rackfit.api.exchange import exchange_of
from rackfit.api.hanging_up import gone
from rackfit.api.headers import first, joined
from rackfit.api.negotiation import MAX_ACCEPT, negotiate
from rackfit.api.operation import Document, Operation
from rackfit.api.patience import patience
from rackfit.api.problems import RequestError
from rackfit.api.room import Held, Room
from rackfit.settings import Settings

CACHE_STATUS: Final = {
    "memory": "rackfit; hit; detail=memory",
    "redis": "rackfit; hit; detail=redis",
    "computed": "rackfit; fwd=miss",
    "collapsed": "rackfit; fwd=miss; collapsed",
    "incomplete": "rackfit; fwd=miss; detail=incomplete",
    "uncached": "rackfit; fwd=bypass",
}
"""RFC 9211, by where an answer came from; `stored` is added where it was."""


class Pipeline:
    """Responds to requests for operations."""

    def __init__(self, settings: Settings, answering: Answering, closing: Closing) -> None:
        self._settings = settings
        self._answering = answering
        self._closing = closing
        self._room = Room(settings.bodies_limit_bytes)

    async def respond(
        self, operation: Operation, request: Request[Any, Any, Any]
    ) -> Response[bytes]:
        """Answer a request for `operation`.

        Raises:
            RequestError: it is refused.
            ClientGone: the caller hung up.
        """
        _check_scope(operation, request)
        media_type = _acceptable(operation, request)
        seconds = patience(request.scope, self._settings.request_timeout_seconds)
        with self._room.held() as held:
            body = await self._body(operation, request, held)
            given = await self._answering.answer(
                Question(
                    operation=operation,
                    path=_path(request),
                    raw_path=request.scope["raw_path"],
                    query=request.scope["query_string"],
                    body=body,
                    content_type=(first(request.scope, b"content-type") or "").encode("latin-1"),
                    media_type=media_type,
                    patience=seconds,
                    deadline=self._closing.deadline(seconds),
                    gone=gone(request.receive),
                    held=held,
                    looked_up=exchange_of(request.scope).looked_up,
                )
            )
        exchange_of(request.scope).cache = given.source
        return _response(operation, given, request)

    async def _body(
        self, operation: Operation, request: Request[Any, Any, Any], held: Held
    ) -> bytes:
        if operation.body is None:
            return b""
        return await read_body(
            request,
            operation.body_media_types,
            limit_bytes=getattr(self._settings, operation.body_limit),
            timeout_seconds=self._settings.request_timeout_seconds,
            closing=self._closing,
            held=held,
        )


def _check_scope(operation: Operation, request: Request[Any, Any, Any]) -> None:
    """See that who asks may ask this."""
    caller = exchange_of(request.scope).caller
    if caller is not None and operation.scope is not None and not caller.may(operation.scope):
        detail = f"This needs the scope `{operation.scope}`, which {caller.name!r} does not have."
        challenge = f'Bearer realm="rackfit", error="insufficient_scope", scope="{operation.scope}"'
        headers = {"WWW-Authenticate": challenge}
        raise RequestError.of(HTTPStatus.FORBIDDEN, detail, headers=headers)


def _accept(request: Request[Any, Any, Any]) -> str:
    """Return all Accept headers of a request as one."""
    accept = joined(request.scope, b"accept")
    if len(accept) > MAX_ACCEPT:
        detail = f"The Accept header is longer than {MAX_ACCEPT:,} characters."
        raise RequestError.of(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
    return accept


def _acceptable(operation: Operation, request: Request[Any, Any, Any]) -> str:
    """Agree on a media type. A document that exists in one only is not negotiated."""
    if operation.answer is Document:
        return operation.media_types[0]
    agreed = negotiate(_accept(request), operation.media_types)
    if agreed is None:
        detail = f"The answer can be had as {', '.join(operation.media_types)}."
        raise RequestError.of(HTTPStatus.NOT_ACCEPTABLE, detail)
    return agreed


def _path(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the path's parameters; a model's id may have come as two segments."""
    given = request.path_params
    if "owner" in given:
        return {"id": f"{given['owner']}/{given['id']}"}
    return {name: str(value) for name, value in given.items()}


def answer_headers(
    operation: Operation, source: Source, etag: str | None, *, stored: bool = False
) -> dict[str, str]:
    """Return the headers of an answer but for those of its content."""
    cache_status = CACHE_STATUS[source] + ("; stored" if stored else "")
    headers = {"Cache-Status": cache_status, "Cache-Control": "no-store"}
    if operation.answer is not Document:
        headers["Vary"] = "Accept"
    if etag is not None:
        # An answer may be kept, but a new release or catalog changes it: always ask again.
        headers |= {"Cache-Control": "no-cache", "ETag": etag}
    return headers


def _response(
    operation: Operation, given: Given, request: Request[Any, Any, Any]
) -> Response[bytes]:
    headers = answer_headers(operation, given.source, given.etag, stored=given.stored)
    if given.etag is not None:
        known = joined(request.scope, b"if-none-match")
        # Plans and memory are questions put by POST, safe and repeatable: there 304 means what
        # it means to GET.
        if known and is_current(known, given.etag):
            return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers |= operation.headers
    headers |= {"Content-Type": given.media_type, "Content-Length": str(len(given.content))}
    content = b"" if request.method == "HEAD" else given.content
    return Response(content, status_code=HTTPStatus.OK, headers=headers)
