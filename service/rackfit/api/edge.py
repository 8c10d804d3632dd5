"""The outermost layer: request id, headers every response has, metrics, one log line each.

Everything passes through it: answers, refusals and paths that lead nowhere.
"""

import re
import secrets
import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from rackfit import metrics
from rackfit.api.exchange import Exchange, begin

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_SHOWN_PATH = 200
_log = structlog.get_logger(__name__)


class _Record:
    """What went out: filled in while a response is sent."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.started = time.perf_counter()
        self.status = 0
        self.sent_bytes = 0

    def note(self, message: Message) -> None:
        """Take note of one message to the server, and add the headers all responses have."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])  # not a member of HTTPStatus, for the log
            request_id = self.exchange.request_id.encode("ascii")
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id),
                (b"x-content-type-options", b"nosniff"),
            ]
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message["body"])


class Edge:
    """The ASGI application around the framework's."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._application(scope, receive, send)
            return
        record = _Record(begin(scope, _request_id(scope)))

        async def noted(message: Message) -> None:
            record.note(message)
            await send(message)

        metrics.REQUESTS_IN_PROGRESS.inc()
        try:
            await self._application(scope, receive, noted)
        finally:
            metrics.REQUESTS_IN_PROGRESS.dec()
            _report(scope, record)


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
