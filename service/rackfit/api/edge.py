"""The outermost layer: request id, headers every response has, metrics, one log line each.

Everything passes through it: answers, refusals and paths that lead nowhere. Who may not come in is
turned away here.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

from litestar.enums import ScopeType
from litestar.types import HTTPScope, Message, Receive, Scope, Send

from rackfit import metrics
from rackfit.api.at_once import AnswersAtOnce
from rackfit.api.closing import Closing
from rackfit.api.desk import Desk
from rackfit.api.exchange import arrived, exchange_of, unreadable
from rackfit.api.front import Front
from rackfit.api.guard import Guard
from rackfit.api.headers import joined, raw_values
from rackfit.api.problems import RequestError, refused, unavailable
from rackfit.api.record import report
from rackfit.api.refusing import refusal
from rackfit.api.sharing import Header, Sharing
from rackfit.wire import AT_ONCE, CLOSE, Refusal

CLOSED: Header = (b"connection", b"close")


class Edge:
    """The ASGI application around the framework's."""

    def __init__(self, front: Front, guard: Guard, sharing: Sharing, closing: Closing) -> None:
        self._front = front
        self._sharing = sharing
        self._closing = closing
        self._desk = Desk(guard, sharing, closing)
        self._at_once = AnswersAtOnce(front, self._desk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            scope["state"][CLOSE] = self._closing.begin
            scope["state"][AT_ONCE] = self._at_once
            await self._front(scope, receive, send)
            return
        record = self._desk.begin(scope)

        async def noted(message: Message) -> None:
            record.note(message)
            if message["type"] == "http.response.start" and _waits_to_be_asked(scope):
                message["headers"] = [*message["headers"], CLOSED]
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
            report(scope, record)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer, or refuse what the server itself could not read and who may not come in."""
        asked_first = self._sharing.preflight(scope)
        if asked_first is not None:
            await _send(send, HTTPStatus.NO_CONTENT, asked_first, b"")
            return
        try:
            if unread := unreadable(scope):
                raise _unread(unread)
            exchange = exchange_of(scope)
            if not exchange.admitted and exchange.refused is None:
                self._desk.admits(scope)
            if exchange.refused is not None:
                raise exchange.refused
        except RequestError as error:
            await _refuse(scope, send, error)
            return
        try:
            await self._front(scope, receive, send)
        except RequestError as error:
            await _refuse(scope, send, error, more=())


def _unread(refusal: Refusal) -> RequestError:
    status = HTTPStatus(refusal.status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return unavailable(refusal.detail)
    return RequestError.of(status, refusal.detail)


def _waits_to_be_asked(scope: HTTPScope) -> bool:
    """Tell whether a caller holds a body back until it is asked for it, which it was not.

    Whether it still sends the body is anybody's guess, and so what follows (RFC 9110, 10.1.1).
    """
    return bool(raw_values(scope, b"expect")) and arrived(scope) is None


async def _refuse(
    scope: HTTPScope, send: Send, error: RequestError, *, more: Iterable[Header] = (CLOSED,)
) -> None:
    """Answer with a problem document, without the framework.

    The connection ends, unless `more` headers say otherwise: a body may still be on its way.
    """
    response = refusal(
        error,
        path=scope["path"],
        request_id=exchange_of(scope).request_id,
        accept=joined(scope, b"accept"),
    )
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in response.headers.items()]
    content = b"" if scope["method"] == "HEAD" else response.content
    await _send(send, response.status, (*headers, *more), content)


async def _send(send: Send, status: int, headers: Iterable[Header], content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": content, "more_body": False})
