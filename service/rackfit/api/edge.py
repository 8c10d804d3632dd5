"""The outermost layer: request id, headers every response has, metrics, one log line each.

Everything passes through it: answers, refusals and paths that lead nowhere.
"""

import asyncio
import re
import secrets
import time
from http import HTTPStatus

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from rackfit import metrics
from rackfit.api.closing import Closing
from rackfit.api.exchange import Exchange, begin, exchange_of, unreadable
from rackfit.api.problems import RequestError, refused
from rackfit.api.refusing import refusal
from rackfit.wire import CLOSE

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_SHOWN_PATH = 200
_log = structlog.get_logger(__name__)


class _Record:
    """What went out: filled in while a response is sent."""

    def __init__(self, exchange: Exchange, closing: Closing) -> None:
        self.exchange = exchange
        self.started = time.perf_counter()
        self.status = 0
        self.sent_bytes = 0
        self._closing = closing

    def note(self, message: Message) -> None:
        """Take note of one message to the server, and add the headers all responses have."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])  # not a member of HTTPStatus, for the log
            request_id = self.exchange.request_id.encode("ascii")
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id),
                (b"x-content-type-options", b"nosniff"),
                # The next request should go where there is somebody to answer it.
                *([(b"connection", b"close")] if self._closing.has_begun else ()),
            ]
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message["body"])


class Edge:
    """The ASGI application around the framework's."""

    def __init__(self, application: ASGIApp, closing: Closing) -> None:
        self._application = application
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            scope["state"][CLOSE] = self._closing.begin
            await self._application(scope, receive, send)
            return
        record = _Record(begin(scope, _request_id(scope)), self._closing)

        async def noted(message: Message) -> None:
            record.note(message)
            await send(message)

        metrics.REQUESTS_IN_PROGRESS.inc()
        try:
            await self._answer(scope, receive, noted)
        except asyncio.CancelledError:
            # The server ends and waits no longer: the last thing to do is to say so.
            if record.status:
                raise
            await _refuse(scope, noted, refused("closing", "The service ends now."))
        finally:
            metrics.REQUESTS_IN_PROGRESS.dec()
            _report(scope, record)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer, or refuse what the server itself could not read."""
        unread = unreadable(scope)
        if unread is None:
            await self._application(scope, receive, send)
        else:
            error = RequestError.of(HTTPStatus(unread.status), unread.detail)
            await _refuse(scope, send, error)


async def _refuse(scope: HTTPScope, send: Send, error: RequestError) -> None:
    """Answer with a problem document, without the framework."""
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    response = refusal(
        error,
        path=scope["path"],
        request_id=exchange_of(scope).request_id,
        accept=accept.decode("latin-1"),
    )
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in response.headers.items()]
    start: Message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": [*headers, (b"connection", b"close")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": response.content, "more_body": False})


def _request_id(scope: HTTPScope) -> str:
    """Return the caller's request id where it is a sound one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return value.decode("ascii")
    return secrets.token_hex(8)


def _report(scope: HTTPScope, record: _Record) -> None:
    """Count, time and log one request."""
    seconds = time.perf_counter() - record.started
    exchange = record.exchange
    method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
    metrics.REQUESTS.labels(method, exchange.route, str(record.status), exchange.cache).inc()
    metrics.REQUEST_SECONDS.labels(method, exchange.route, exchange.cache).observe(seconds)
    _log.info(
        "request",
        method=method,
        path=scope["raw_path"][:_SHOWN_PATH].decode("ascii", "backslashreplace"),
        status=record.status,
        milliseconds=round(seconds * 1000, 3),
        sent_bytes=record.sent_bytes,
        cache=exchange.cache,
        route=exchange.route,
        request_id=exchange.request_id,
    )
