"""The outermost layer: request id, headers every response has, metrics, one log line each.

Everything passes through it: answers, refusals and paths that lead nowhere. Who may not come in is
turned away here.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any, cast

import structlog
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram

from rackfit import metrics
from rackfit.api.closing import Closing
from rackfit.api.exchange import Exchange, begin, begun, exchange_of, unreadable
from rackfit.api.front import OK, Front
from rackfit.api.guard import Guard
from rackfit.api.problems import RequestError, refused
from rackfit.api.refusing import refusal
from rackfit.api.sharing import Header, Sharing
from rackfit.api.tracing import trace_id
from rackfit.wire import AT_ONCE, CLOSE

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_SHOWN_PATH = 200
PROTECTION: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What keeps a browser from making more of an answer than it is."""

NOTHING_LOADED: Header = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""The policy of every answer that does not bring one of its own."""

_log = structlog.get_logger(__name__)


class _Record:
    """What went out: filled in while a response is sent."""

    def __init__(self, exchange: Exchange, closing: Closing, shared: Iterable[Header]) -> None:
        self.exchange = exchange
        self.started = time.perf_counter()
        self.status = 0
        self.sent_bytes = 0
        self._closing = closing
        self._shared = shared

    def headers(self, *, has_policy: bool) -> tuple[Header, ...]:
        """Return what all responses have beside their own headers, of which one may be a policy."""
        return (
            (b"x-request-id", self.exchange.request_id.encode("ascii")),
            *PROTECTION,
            *(() if has_policy else (NOTHING_LOADED,)),
            *self._shared,
            # The next request should go where there is somebody to answer it.
            *([(b"connection", b"close")] if self._closing.has_begun else ()),
        )

    def note(self, message: Message) -> None:
        """Take note of one message to the server, and add the headers all responses have."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])  # not a member of HTTPStatus, for the log
            own = message["headers"]
            has_policy = any(name == NOTHING_LOADED[0] for name, _ in own)
            message["headers"] = [*own, *self.headers(has_policy=has_policy)]
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message["body"])


class Edge:
    """The ASGI application around the framework's."""

    def __init__(self, front: Front, guard: Guard, sharing: Sharing, closing: Closing) -> None:
        self._front = front
        self._guard = guard
        self._sharing = sharing
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            scope["state"][CLOSE] = self._closing.begin
            scope["state"][AT_ONCE] = self.at_once
            await self._front(scope, receive, send)
            return
        record = self._record(scope)

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

    def _record(self, scope: HTTPScope) -> "_Record":
        """Begin an exchange, if that has not been done."""
        exchange = exchange_of(scope) if begun(scope) else begin(scope, _request_id(scope))
        exchange.trace = trace_id(scope)
        return _Record(exchange, self._closing, self._sharing.headers(scope))

    def at_once(self, asked: dict[str, Any], body: bytes) -> tuple[bytes, bytes] | None:
        """Answer a question asked again, to the byte, whose answer this process holds."""
        scope = cast("HTTPScope", asked)
        if not self._front.may_hold(scope):
            return None
        record = self._record(scope)
        kept = self._front.held(scope, body) if self._admits(scope) else None
        if kept is None:
            return None
        head, content = kept
        record.status, record.sent_bytes = OK, len(content)
        edge = b"".join(map(_line, record.headers(has_policy=False)))
        _report(scope, record)
        return head + edge, content

    def _admits(self, scope: HTTPScope) -> bool:
        """Ask the gate; what it says is kept for whoever answers."""
        exchange = exchange_of(scope)
        try:
            exchange.caller = self._guard.admit(scope)
        except RequestError as error:
            exchange.refused = error
        exchange.admitted = exchange.refused is None
        return exchange.admitted

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer, or refuse what the server itself could not read and who may not come in."""
        asked_first = self._sharing.preflight(scope)
        if asked_first is not None:
            await _send(send, HTTPStatus.NO_CONTENT, asked_first, b"")
            return
        try:
            if unread := unreadable(scope):
                raise RequestError.of(HTTPStatus(unread.status), unread.detail)
            exchange = exchange_of(scope)
            if not exchange.admitted and exchange.refused is None:
                self._admits(scope)
            if exchange.refused is not None:
                raise exchange.refused
        except RequestError as error:
            await _refuse(scope, send, error)
            return
        await self._front(scope, receive, send)


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
    content = b"" if scope["method"] == "HEAD" else response.content
    await _send(send, response.status, (*headers, (b"connection", b"close")), content)


async def _send(send: Send, status: int, headers: Iterable[Header], content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _line(header: Header) -> bytes:
    return b"%b: %b\r\n" % header


def _request_id(scope: HTTPScope) -> str:
    """Return the caller's request id where it is a sound one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return value.decode("ascii")
    return secrets.token_hex(8)


@cache
def _counted(method: str, route: str, status: int, source: str) -> Counter:
    """Return the counter of such requests; its labels are looked up once."""
    return metrics.REQUESTS.labels(method, route, str(status), source)


@cache
def _timed(method: str, route: str, source: str) -> Histogram:
    return metrics.REQUEST_SECONDS.labels(method, route, source)


def _report(scope: HTTPScope, record: _Record) -> None:
    """Count, time and log one request."""
    seconds = time.perf_counter() - record.started
    exchange = record.exchange
    method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
    _counted(method, exchange.route, record.status, exchange.cache).inc()
    _timed(method, exchange.route, exchange.cache).observe(seconds)
    _log.info(
        "request",
        method=method,
        path=scope["raw_path"][:_SHOWN_PATH].decode("ascii", "backslashreplace"),
        status=record.status,
        milliseconds=round(seconds * 1000, 3),
        sent_bytes=record.sent_bytes,
        cache=exchange.cache,
        route=exchange.route,
        **_known(exchange),
        request_id=exchange.request_id,
    )


def _known(exchange: Exchange) -> dict[str, str]:
    """Return what the log says only where it is known."""
    known = {} if exchange.caller is None else {"caller": exchange.caller.name}
    return known if exchange.trace is None else {**known, "trace_id": exchange.trace}
