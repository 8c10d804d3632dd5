"""Kept answers to requests that are here as a whole: given to the server without a task.

A request that comes again in the same bytes is not even parsed: all that its first answer found
out is known, and only who asks, how often, and whether the answer is still kept are looked at.
"""

import time
from typing import Any, cast

from litestar.types import HTTPScope

from rackfit.api.desk import Desk
from rackfit.api.front import OK, Front
from rackfit.api.headers import joined
from rackfit.api.operation import Operation
from rackfit.api.pool import full
from rackfit.api.problems import RequestError
from rackfit.api.record import (
    Record,
    counted,
    fields,
    fresh_id,
    given_id,
    id_header,
    line,
    log,
    method_of,
    report,
    timed,
)
from rackfit.api.refusing import refusal
from rackfit.wire import Again, Sent


class AnswersAtOnce:
    """Answers questions asked again whose answers this process holds (see `wire.AtOnce`)."""

    def __init__(self, front: Front, desk: Desk) -> None:
        self._front = front
        self._desk = desk

    def answer(self, request: dict[str, Any], body: bytes) -> Sent | None:
        """Answer what is asked again in the same words; refuse others if there is no room.

        To look closer at those (their answers may be kept under other words) would take of what
        there is too little of already.
        """
        scope = cast("HTTPScope", request)
        if not body or not self._front.may_hold(scope):
            return None
        record = self._desk.begin(scope)
        asked = self._front.asked(scope, body) if self._desk.admits(scope) else None
        if asked is None:
            return None
        record.exchange.route = asked.operation.path
        key = self._front.key(asked, scope)
        held = None if key is None else self._front.recall(key)
        if held is not None:
            record.exchange.cache = "memory"
            lines = self._front.lines(asked.operation, held)
            return _sent(scope, record, OK, lines, held.body)
        if key is None and self._front.has_no_room(asked.operation):
            return _refused(scope, record, full())
        return None

    def again(self, request: dict[str, Any], body: bytes) -> Again | None:
        """Return what answers a question once more that was just answered."""
        scope = cast("HTTPScope", request)
        asked = self._front.asked(scope, body)
        key = None if asked is None else self._front.key(asked, scope)
        if asked is None or key is None:
            return None
        return _Again(self._front, self._desk, scope, asked.operation, key)


class _Again:
    """Answers one question, asked in the same bytes as before; what does not change is made once.

    The answer itself is not held here but looked up: the cache alone bounds what is kept.
    """

    def __init__(
        self, front: Front, desk: Desk, scope: HTTPScope, operation: Operation, key: bytes
    ) -> None:
        self._front = front
        self._desk = desk
        self._operation = operation
        self._key = key
        self._asked = {name: scope[name] for name in ("path", "headers")}
        self._given_id = given_id(scope)
        record = desk.begin(scope)
        record.status = OK
        cache = record.exchange.cache
        self._told, self._trace = fields(scope, record), record.exchange.trace
        self._count = counted(method_of(scope), operation.path, OK, cache).inc
        self._time = timed(method_of(scope), operation.path, cache).observe
        self._etag, self._lines = "", b""
        self._edge = b"".join(map(line, record.headers(has_policy=False)[1:]))

    def __call__(self, client: tuple[str, int] | None) -> Sent | None:
        """Answer, or leave it to the application: to compute, to refuse and to explain."""
        started = time.perf_counter()
        if not self._front.holds(self._key):
            return None
        asked = cast("HTTPScope", {**self._asked, "client": client})
        try:
            caller = self._desk.guard.admit(asked)
        except RequestError:
            return None
        if not self._front.may_have(caller, self._operation):
            return None
        held = self._front.recall(self._key)
        if held is None:
            return None
        if held.etag != self._etag:
            self._etag, self._lines = held.etag, self._front.lines(self._operation, held)
        told = self._told.copy()
        if caller is not None:
            told["caller"] = caller.name
        request_id = self._given_id or fresh_id()
        told["request_id"], told["sent_bytes"] = request_id, len(held.body)
        seconds = time.perf_counter() - started
        self._count()
        self._time(seconds)
        log(told, seconds, self._trace)
        head = self._lines + line(id_header(request_id)) + self._edge
        return Sent(OK, head, held.body)


def _refused(scope: HTTPScope, record: Record, error: RequestError) -> Sent:
    response = refusal(
        error,
        path=scope["path"],
        request_id=record.exchange.request_id,
        accept=joined(scope, b"accept"),
    )
    head = "".join(f"{name.lower()}: {value}\r\n" for name, value in response.headers.items())
    return _sent(scope, record, response.status, head.encode("latin-1"), response.content)


def _sent(scope: HTTPScope, record: Record, status: int, head: bytes, content: bytes) -> Sent:
    """Count, time and log an answer as it goes out."""
    record.status, record.sent_bytes = status, len(content)
    edge = b"".join(map(line, record.headers(has_policy=False)))
    report(scope, record)
    return Sent(status, head + edge, content)
