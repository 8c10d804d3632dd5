"""HTTP as uvicorn speaks it with httptools, with limits on what a connection may take.

uvicorn answers what it cannot read with a bare line of text that nobody counts; here it becomes a
request for the application to refuse. It also waits for a request's head without end and keeps
one of any size; here both are bounded, and so are connections and answers nobody fetches.
"""

import asyncio
import sys
from functools import partial
from typing import Any, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from rackfit.server.declined import DeclinedBody
from rackfit.server.methods import unknown_method
from rackfit.wire import ARRIVED, REFUSAL, Refusal

MAX_HEAD_BYTES = 32 << 10
"""A request's first line and headers; proxies commonly stop at 8 to 16 KiB."""
MAX_TARGET_BYTES = 16 << 10
HEAD_SECONDS = 10.0
"""Time for a head to arrive whole, from the connection's or its own first byte."""
UNFETCHED_SECONDS = 30.0
"""Time for a client to make room for more of an answer that it asked for."""

VERSIONS = ("1.1", "1.0")
UNKNOWN_METHOD = "-"
BAD_REQUEST = 400
REQUEST_TIMEOUT = 408
URI_TOO_LONG = 414
HEADERS_TOO_LARGE = 431
NOT_IMPLEMENTED = 501
UNAVAILABLE = 503


class LimitedConfig(Protocol):
    """The one thing connections need to know beside uvicorn's own configuration."""

    connection_limit: int


class BoundedProtocol(HttpToolsProtocol):
    """One connection, bounded."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._unfetched: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        self._unread_bytes = 0
        self._is_deaf = False
        self._declines = False
        self._piece = b""
        self._refused_next: Refusal | None = None
        self.idle_since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room for one more connection."""
        super().connection_made(transport)
        self._wait_for_head()
        limit = cast("LimitedConfig", self.config).connection_limit
        if len(self.connections) > limit and not self._make_room():
            self._refuse(UNAVAILABLE, f"There are {limit:,} connections already.")

    def _make_room(self) -> bool:
        """End the connection that has been idle for longest, where one is."""
        others = cast("set[BoundedProtocol]", self.connections) - {self}
        idle = [other for other in others if other.is_idle]
        if idle:
            longest = min(idle, key=lambda other: other.idle_since)
            self.connections.discard(longest)
            longest.transport.close()
        return bool(idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    # Heads: in time, of bounded size

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        if self._is_deaf:
            return
        if self.is_idle and self._timer is None:
            # A next head begins; or the body of a request that was refused unread goes on.
            self._wait_for_head()
        began_before = self._in_head
        self._piece = data
        super().data_received(data)
        self._piece = b""
        if self._in_head and began_before:
            self._unread_bytes += len(data)
            if self._unread_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        """End a connection whose next request has not come; tell so if half of it has."""
        self._timer = None
        if self._in_head or not self.is_idle:
            detail = f"The request's head did not arrive within {HEAD_SECONDS:g} seconds."
            self._refuse(REQUEST_TIMEOUT, detail)
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._unread_bytes = 0
        if self._timer is None:  # it came with the request before it
            self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or refuse, the request whose head this was."""
        self._in_head = False
        self._stop_waiting()
        if len(self.url) > MAX_TARGET_BYTES or self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif any(n == b"transfer-encoding" and v.lower() != b"chunked" for n, v in self.headers):
            self._refuse(NOT_IMPLEMENTED, "Of the transfer codings only `chunked` is taken, alone.")
        elif self.parser.get_http_version() not in VERSIONS:
            self._refuse(BAD_REQUEST, "This is neither HTTP/1.1 nor HTTP/1.0.")
        elif not self._has_sound_host:
            self._refuse(BAD_REQUEST, "A request of HTTP/1.1 has one Host header, and only one.")
        else:
            self._declines = self.parser.should_upgrade() and self._has_body
            super().on_headers_complete()
            self.cycle.keep_alive = self.cycle.keep_alive and not self.parser.should_upgrade()
            scope = cast("dict[str, Any]", self.scope)
            scope["extensions"] = {ARRIVED: partial(_arrived, self.cycle)}

    @property
    def _has_sound_host(self) -> bool:
        """Whether there are as many Host headers as RFC 9112 (3.2) has it."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        return hosts == 1 or (not hosts and self.parser.get_http_version() == "1.0")

    @property
    def _has_body(self) -> bool:
        lengths = [v for n, v in self.headers if n in (b"content-length", b"transfer-encoding")]
        return any(value != b"0" for value in lengths)

    def on_message_complete(self) -> None:
        """Take note of a body's end, which the parser tells too early where it declines."""
        if not self._declines:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a caller may offer an upgrade, and is answered without; read its body."""
        stopped = sys.exception()
        if self._declines and isinstance(stopped, httptools.HttpParserUpgrade):
            self._declines = False
            self.parser = DeclinedBody(self, self.headers).parser
            super().data_received(self._piece[stopped.args[0] :])

    def _refuse_head(self) -> None:
        if len(self.url) > MAX_TARGET_BYTES:
            detail = f"The path and query are longer than {MAX_TARGET_BYTES:,} bytes."
            self._refuse(URI_TOO_LONG, detail)
        else:
            detail = f"The request's head is larger than {MAX_HEAD_BYTES:,} bytes."
            self._refuse(HEADERS_TOO_LARGE, detail)

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed (uvicorn's own words for it are of no use to a caller)."""
        del msg
        # Of all that the parser stops at only methods have the word in their reasons.
        is_method = "method" in str(sys.exception())
        if is_method and (method := unknown_method(self._piece)):
            detail = f"No path takes the method `{method}`; OPTIONS lists in Allow what one takes."
            self._refuse(NOT_IMPLEMENTED, detail)
        else:
            self._refuse(BAD_REQUEST, "This is not well-formed HTTP.")

    def _refuse(self, status: int, detail: str) -> None:
        """Have the application refuse what has come, and listen to nothing more.

        Requests before it are answered first.
        """
        if self._is_deaf:
            return
        self._is_deaf = True
        self._in_head = False
        self._stop_waiting()
        self._unset_keepalive_if_required()
        refusal = Refusal(status, detail)
        if self.is_idle:
            self._begin_refusal(refusal)
        elif self.cycle.more_body:
            # It is the body of a request that is taken up already: that one is refused.
            self.cycle.keep_alive = False
            cast("dict[str, Any]", self.cycle.scope)["extensions"] = {REFUSAL: refusal}
            self.cycle.more_body = False
            self.cycle.message_event.set()
        else:
            self._refused_next = refusal

    def _begin_refusal(self, refusal: Refusal) -> None:
        """Start the application on a request of which no more is known than could be read."""
        if self.scope is None or (self.cycle is not None and self.cycle.scope is self.scope):
            super().on_message_begin()  # not even a head had begun
        scope = cast("dict[str, Any]", self.scope)
        scope.setdefault("method", UNKNOWN_METHOD)
        scope |= {"path": "", "raw_path": self.url, "query_string": b""}
        scope["extensions"] = {REFUSAL: refusal}
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)

    def on_response_complete(self) -> None:
        """Wait for the next request; refuse what had come behind the one that is answered."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self._refused_next and self.is_idle and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._begin_refusal(self._refused_next)

    def pause_writing(self) -> None:
        """Wait for the client to fetch what was sent, but not for ever."""
        super().pause_writing()
        if self._unfetched is None:
            self._unfetched = self.loop.call_later(UNFETCHED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on sending."""
        if self._unfetched is not None:
            self._unfetched.cancel()
            self._unfetched = None
        super().resume_writing()


def _arrived(cycle: RequestResponseCycle) -> bytes | None:
    """Return the whole body of a request, None where it is not here yet or was not asked for."""
    waiting = cycle.more_body or cycle.waiting_for_100_continue
    return None if waiting else bytes(cycle.body)
