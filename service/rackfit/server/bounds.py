"""HTTP as uvicorn speaks it with httptools, with limits on what a connection may take.

uvicorn answers what it cannot read with a bare line of text that nobody counts; here it becomes a
request for the application to refuse. It also waits for a request's head without end and keeps
one of any size; here both are bounded, and so are connections and answers nobody fetches.
"""

import asyncio
import logging
import sys
from functools import partial
from typing import Any, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from rackfit.server.declined import DeclinedBody
from rackfit.server.heads import (
    BAD_REQUEST,
    MAX_HEAD_BYTES,
    NOT_IMPLEMENTED,
    has_body,
    too_large,
    unfit,
)
from rackfit.server.methods import unknown_method
from rackfit.wire import ARRIVED, REFUSAL, Refusal

HEAD_SECONDS = 10.0
"""Time for a head to arrive whole, from the connection's or its own first byte."""
UNFETCHED_SECONDS = 30.0
"""Time for a client to make room for more of an answer that it asked for."""

MAX_WAITING = 64
"""Requests that wait on a connection for the one before them; each takes some kilobytes."""

UNKNOWN_METHOD = "-"
REQUEST_TIMEOUT = 408
UNAVAILABLE = 503


_log = logging.getLogger(__name__)
_log.setLevel(logging.ERROR)  # what cannot be read has one line: that of its refusal


class LimitedConfig(Protocol):
    """The one thing connections need to know beside uvicorn's own configuration."""

    connection_limit: int


class _Unread(Exception):  # noqa: N818 - no error: it stops the parser
    """What follows in the piece that has come is not for anybody.

    httptools makes an `HttpParserCallbackError` of it, which uvicorn hands to `send_400_response`:
    that does nothing, as the connection is deaf by then.
    """


class BoundedProtocol(HttpToolsProtocol):
    """One connection, bounded."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        super().__init__(*arguments, **named)
        self.logger = _log
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
            self._refuse(Refusal(UNAVAILABLE, f"There are {limit:,} connections already."))

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
        self._unread_bytes += len(data)
        self._piece = data
        super().data_received(data)
        self._piece = b""
        if self._unread_bytes > MAX_HEAD_BYTES:  # of a head, or what may stand around chunks
            self._refuse(too_large(self.url))

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
            self._refuse(Refusal(REQUEST_TIMEOUT, detail))
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
        """Take a header; one that comes behind the body is none (RFC 9110, 6.5.1)."""
        if self._in_head:
            super().on_header(name, value.rstrip(b" \t"))
            self._head_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or refuse, the request whose head this was."""
        self._in_head = False
        self._unread_bytes = 0
        self._stop_waiting()
        version = self.parser.get_http_version()
        refusal = unfit(version, self.url, self.headers, self._head_bytes)
        if refusal is None and len(self.pipeline) >= MAX_WAITING:
            detail = f"{MAX_WAITING} requests wait on this connection already."
            refusal = Refusal(UNAVAILABLE, detail)
        if refusal is not None:
            self._refuse(refusal)
            raise _Unread
        self._declines = self.parser.should_upgrade() and has_body(self.headers)
        self.expect_100_continue &= version != "1.0"  # which knows no interim answers
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and not self.parser.should_upgrade()
        scope = cast("dict[str, Any]", self.scope)
        scope["extensions"] = {ARRIVED: partial(_arrived, self.cycle)}

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note of a body's end, which the parser tells too early where it declines."""
        self._unread_bytes = 0
        if not self._declines:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a caller may offer an upgrade, and is answered without; read its body."""
        stopped = sys.exception()
        if self._declines and isinstance(stopped, httptools.HttpParserUpgrade):
            self._declines = False
            self.parser = DeclinedBody(self, self.headers).parser
            super().data_received(self._piece[stopped.args[0] :])

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed (uvicorn's own words for it are of no use to a caller)."""
        del msg
        # Of all that the parser stops at only methods have the word in their reasons.
        is_method = "method" in str(sys.exception())
        if is_method and (method := unknown_method(self._piece)):
            detail = f"No path takes the method `{method}`; OPTIONS lists in Allow what one takes."
            self._refuse(Refusal(NOT_IMPLEMENTED, detail))
        else:
            self._refuse(Refusal(BAD_REQUEST, "This is not well-formed HTTP."))

    def _refuse(self, refusal: Refusal) -> None:
        """Have the application refuse what has come, and listen to nothing more.

        Requests before it are answered first; one that was answered before all of it had come is
        not answered again.
        """
        if self._is_deaf:
            return
        self._is_deaf = True
        self._in_head = False
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self.is_idle:
            if self.cycle is not None and self.cycle.scope is self.scope:
                self.transport.close()
            else:
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
        if cast("object", self.scope) is None:
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
