"""What is told of one request: headers that every response has, metrics, one log line."""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from functools import cache
from itertools import count

from litestar.types import HTTPScope, Message
from prometheus_client import Counter, Histogram

from rackfit import logs, metrics
from rackfit.api.closing import Closing
from rackfit.api.exchange import Exchange
from rackfit.api.headers import raw_values
from rackfit.api.sharing import Header
from rackfit.telemetry import Telemetry, Trace

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_SHOWN_PATH = 200
_PROCESS = secrets.token_hex(4)
_NUMBERS = count()
PROTECTION: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What keeps a browser from making more of an answer than it is."""

NOTHING_LOADED: Header = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""The policy of every answer that does not bring one of its own."""


class Record:
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
            id_header(self.exchange.request_id),
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


def id_header(request_id: str) -> Header:
    """Return the header that tells a request's id."""
    return b"x-request-id", request_id.encode("ascii")


def line(header: Header) -> bytes:
    """Spell a header."""
    return b"%b: %b\r\n" % header


def given_id(scope: HTTPScope) -> str | None:
    """Return the caller's request id where it gives a sound one."""
    sound = filter(_REQUEST_ID.match, raw_values(scope, b"x-request-id"))
    return next((value.decode("ascii") for value in sound), None)


def fresh_id() -> str:
    """Return an id that no other request of any process has."""
    return f"{_PROCESS}{next(_NUMBERS):08x}"


@cache
def counted(method: str, route: str, status: int, source: str) -> Counter:
    """Return the counter of such requests; its labels are looked up once."""
    return metrics.REQUESTS.labels(method, route, str(status), source)


@cache
def timed(method: str, route: str, source: str) -> Histogram:
    """Return the histogram of their times."""
    return metrics.REQUEST_SECONDS.labels(method, route, source)


@cache
def _log() -> Callable[[dict[str, object]], None]:
    """Return what logs a request; looked for when logging has been configured."""
    return logs.lines("request")


def report(scope: HTTPScope, record: Record) -> None:
    """Count, time and log one request."""
    seconds = time.perf_counter() - record.started
    exchange = record.exchange
    counted(method_of(scope), exchange.route, record.status, exchange.cache).inc()
    timed(method_of(scope), exchange.route, exchange.cache).observe(seconds)
    log(fields(scope, record), seconds, exchange.trace)


def log(told: dict[str, object], seconds: float, trace: Trace | None) -> None:
    """Write the one line of a request, and export its span where that is configured."""
    told["milliseconds"] = round(seconds * 1000, 3)
    if Telemetry.spans is not None:
        Telemetry.spans.record(told, seconds, trace)
    _log()(told)


def method_of(scope: HTTPScope) -> str:
    """Return the method as metrics and log name it."""
    return scope["method"] if scope["method"] in METHODS else OTHER_METHOD


def fields(scope: HTTPScope, record: Record) -> dict[str, object]:
    """Return what a request's line tells; who asked, and its trace, where they are known."""
    exchange = record.exchange
    told: dict[str, object] = {
        "method": method_of(scope),
        "path": scope["raw_path"][:_SHOWN_PATH].decode("ascii", "backslashreplace"),
        "status": record.status,
        "milliseconds": 0.0,
        "sent_bytes": record.sent_bytes,
        "cache": exchange.cache,
        "route": exchange.route,
    }
    if exchange.caller is not None:
        told["caller"] = exchange.caller.name
    if exchange.trace is not None:
        told["trace_id"] = exchange.trace.id
    told["request_id"] = exchange.request_id
    return told
