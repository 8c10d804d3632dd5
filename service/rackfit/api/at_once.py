"""Kept answers to requests that are here as a whole: given to the server without a task.

A request that comes again in the same bytes is not even parsed: all that its first answer found
out is known, and only who asks, how often, and whether the answer is still kept are looked at.
"""

import time
from typing import Any, cast

from litestar.types import HTTPScope

from rackfit.api.desk import Desk
from rackfit.api.exchange import exchange_of
from rackfit.api.front import OK, Front
from rackfit.api.operation import Operation
from rackfit.api.problems import RequestError
from rackfit.api.record import (
    counted,
    fields,
    fresh_id,
    given_id,
    line,
    log,
    method_of,
    report,
    timed,
)
from rackfit.wire import Again

ID_LINE = b"x-request-id: %b\r\n"


class AnswersAtOnce:
    """Answers questions asked again whose answers this process holds (see `wire.AtOnce`)."""

    def __init__(self, front: Front, desk: Desk) -> None:
        self._front = front
        self._desk = desk

    def answer(self, asked: dict[str, Any], body: bytes) -> tuple[bytes, bytes] | None:
        """Answer a question asked again, its body to the byte."""
        scope = cast("HTTPScope", asked)
        if not self._front.may_hold(scope):
            return None
        record = self._desk.begin(scope)
        kept = self._front.held(scope, body) if self._desk.admits(scope) else None
        if kept is None:
            return None
        head, content = kept
        record.status, record.sent_bytes = OK, len(content)
        edge = b"".join(map(line, record.headers(has_policy=False)))
        report(scope, record)
        return head + edge, content

    def again(self, asked: dict[str, Any], body: bytes) -> Again | None:
        """Return what answers a question once more that was just answered."""
        scope = cast("HTTPScope", asked)
        found = self._front.found(scope, body)
        return None if found is None else _Again(self._front, self._desk, scope, *found)


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
        exchange = exchange_of(scope)
        self._told = fields(scope, record)
        self._count = counted(method_of(scope), operation.path, OK, exchange.cache).inc
        self._time = timed(method_of(scope), operation.path, exchange.cache).observe
        self._etag, self._lines = "", b""
        self._edge = b"".join(map(line, record.headers(has_policy=False)[1:]))

    def __call__(self, client: tuple[str, int] | None) -> tuple[bytes, bytes] | None:
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
        log(told, seconds)
        head = self._lines + ID_LINE % request_id.encode("ascii") + self._edge
        return head, held.body
