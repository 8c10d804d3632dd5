"""Routes from operations: one handler a path, whatever its methods, and one for every error."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response, route
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ExceptionHandlersMap

from rackfit.api.exchange import CLIENT_GONE, UNMATCHED, ClientGone, exchange_of
from rackfit.api.headers import joined
from rackfit.api.operation import Operation
from rackfit.api.operations import OPERATIONS
from rackfit.api.pipeline import Pipeline
from rackfit.api.problems import KINDS, RequestError
from rackfit.api.refusing import refusal

_log = structlog.get_logger(__name__)


def route_handlers(operations: Iterable[Operation], pipeline: Pipeline) -> list[HTTPRouteHandler]:
    """Make the handlers of all paths."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_handler(path, by_method, pipeline) for path, by_method in by_path.items()]


def _handler(path: str, by_method: Mapping[str, Operation], pipeline: Pipeline) -> HTTPRouteHandler:
    """Make the handler of one path, for all its methods.

    One handler knows them all, so that Allow is complete (Litestar answers OPTIONS and 405
    handler by handler); HEAD is there wherever GET is.
    """
    allowed = allowed_methods(by_method)
    answers = {**by_method, **({"HEAD": by_method["GET"]} if "GET" in by_method else {})}

    @route(litestar_paths(path), http_method=allowed)
    async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
        exchange_of(request.scope).route = path
        if request.method == "OPTIONS":
            headers = {"Allow": ", ".join(method.value for method in allowed)}
            return Response(b"", status_code=HTTPStatus.NO_CONTENT, headers=headers)
        return await pipeline.respond(answers[request.method], request)

    return handle


def allowed_methods(by_method: Iterable[str]) -> list[HttpMethod]:
    """Return all methods of a path with these operations, in alphabetical order."""
    given = {HttpMethod(method) for method in by_method} | {HttpMethod.OPTIONS}
    return sorted(given | {HttpMethod.HEAD} if HttpMethod.GET in given else given)


def litestar_paths(template: str) -> list[str]:
    """Spell a template as Litestar has it.

    A model's id may hold one slash, raw or percent-encoded (servers decode paths before they
    are routed), so it may be two segments.
    """
    one = template.replace("{id}", "{id:str}")
    if not template.startswith("/v1/models/{id}"):
        return [one]
    return [one, one.replace("{id:str}", "{owner:str}/{id:str}")]


def _on_request_error(request: Request[Any, Any, Any], error: RequestError) -> Response[bytes]:
    """Answer with a problem document."""
    refused = refusal(
        error,
        path=request.scope["path"],
        request_id=exchange_of(request.scope).request_id,
        accept=joined(request.scope, b"accept"),
    )
    shown = b"" if request.method == "HEAD" else refused.content
    return Response(shown, status_code=refused.status, headers=refused.headers)


def _on_client_gone(_request: Request[Any, Any, Any], _error: ClientGone) -> Response[bytes]:
    """End an exchange nobody waits for any more; the server sends none of it."""
    return Response(b"", status_code=CLIENT_GONE)


def _on_not_found(request: Request[Any, Any, Any], _error: NotFoundException) -> Response[bytes]:
    detail = "There is nothing at this path; /openapi.json lists what there is."
    return _on_request_error(request, RequestError.of(HTTPStatus.NOT_FOUND, detail))


def _on_method(
    request: Request[Any, Any, Any], error: MethodNotAllowedException
) -> Response[bytes]:
    exchange_of(request.scope).route = _route_of(request.scope["path"])
    allowed = ", ".join(sorted((error.headers or {})["allow"].split(", ")))
    refusal = RequestError.of(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"The path takes {allowed}.",
        headers={"Allow": allowed},
    )
    return _on_request_error(request, refusal)


def _route_of(path: str) -> str:
    """Return the template of a path that is there, which Litestar does not tell of a 405."""
    templates = {operation.path for operation in OPERATIONS}
    # The fixed ones first: `/v1/models/inspect` could be a model's id as well.
    for template in sorted(templates, key=lambda template: "{id}" in template):
        pattern = re.escape(template).replace(r"\{id\}", "[^/]+(?:/[^/]+)?") + "/?"
        if re.fullmatch(pattern, path):
            return template
    return UNMATCHED


def _on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what Litestar refuses by itself, such as a malformed Host header."""
    known = error.status_code in KINDS
    status = HTTPStatus(error.status_code) if known else HTTPStatus.BAD_REQUEST
    return _on_request_error(request, RequestError.of(status, error.detail))


def _on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a failure of ours: the log has all of it, the caller its request id."""
    request_id = exchange_of(request.scope).request_id
    _log.error("unhandled_exception", request_id=request_id, exc_info=error)
    detail = "Rackfit failed to answer this; the log has the reason under this request id."
    return _on_request_error(request, RequestError.of(HTTPStatus.INTERNAL_SERVER_ERROR, detail))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    RequestError: _on_request_error,
    ClientGone: _on_client_gone,
    NotFoundException: _on_not_found,
    MethodNotAllowedException: _on_method,
    HTTPException: _on_http_exception,
    Exception: _on_bug,
}
