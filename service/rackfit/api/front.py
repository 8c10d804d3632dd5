"""Answers that are kept, given without the framework: a question asked again, to the byte.

Whatever is not as plain as that (no answer yet, a condition, a body still on its way) goes on to
the framework untouched, so that there is one way to compute, to refuse and to explain.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from rackfit.access.callers import Caller
from rackfit.api.answering import HASHED_INLINE_BYTES, Answering, Source
from rackfit.api.body import takes
from rackfit.api.closing import Closing
from rackfit.api.exchange import arrived, exchange_of
from rackfit.api.negotiation import MAX_ACCEPT, negotiate
from rackfit.api.operation import Operation
from rackfit.api.patience import HEADER, read_seconds
from rackfit.api.pipeline import answer_headers
from rackfit.api.pool import full
from rackfit.api.sharing import Header
from rackfit.caching.answer import CachedAnswer
from rackfit.settings import Settings

PLAIN = frozenset({b"accept", b"content-type", HEADER})
WATCHED = PLAIN | {b"content-encoding", b"if-none-match", b"transfer-encoding"}
"""Headers that decide on the answer; those that call for more than looking one up are not taken."""

OK = 200


class Asked(NamedTuple):
    """What a plain request asks for, and in which form."""

    operation: Operation
    content_type: bytes
    media_type: str
    body: bytes


class Front:
    """The ASGI application around the framework's that answers from the cache."""

    def __init__(
        self,
        application: ASGIApp,
        operations: Iterable[Operation],
        answering: Answering,
        settings: Settings,
        closing: Closing,
    ) -> None:
        self._application = application
        self._answering = answering
        self._settings = settings
        self._closing = closing
        self._operations: Mapping[tuple[str, str], Operation] = {
            (o.method, o.path): o
            for o in operations
            if o.cacheable and o.body and "{" not in o.path
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on.

        Raises:
            RequestError: it is new in its words, and no more computations are taken. All of the
                request is here.
        """
        if scope["type"] != ScopeType.HTTP:
            await self._application(scope, receive, send)
            return
        body = arrived(scope) if self.may_hold(scope) else None
        asked = self.asked(scope, body) if body else None
        key = None if asked is None else self.key(asked, scope)
        if asked is not None and key is None and self.has_no_room(asked.operation):
            exchange_of(scope).route = asked.operation.path
            raise full()
        kept = None if key is None else await self._answering.kept(key)
        if asked is None or kept is None:
            exchange_of(scope).looked_up = key is not None
            await self._application(scope, receive, send)
            return
        operation, (held, source) = asked.operation, kept
        exchange = exchange_of(scope)
        exchange.route, exchange.cache = operation.path, source
        start = _headers(operation, source, held.etag, held.media_type, len(held.body))
        await send({"type": "http.response.start", "status": OK, "headers": [*start]})
        await send({"type": "http.response.body", "body": held.body, "more_body": False})

    def may_hold(self, scope: HTTPScope) -> bool:
        """Tell whether answers to such requests are kept."""
        return (scope["method"], scope["path"]) in self._operations

    def asked(self, scope: HTTPScope, body: bytes) -> Asked | None:
        """Return what a plain request asks for; None where that takes a closer look."""
        operation = self._operations[scope["method"], scope["path"]]
        given = {name: value for name, value in scope["headers"] if name in WATCHED}
        content_type = given.get(b"content-type", b"")
        accept = given.get(b"accept", b"")
        if (
            not given.keys() <= PLAIN
            or sum(name in PLAIN for name, _ in scope["headers"]) != len(given)
            or len(accept) > MAX_ACCEPT
            or (HEADER in given and read_seconds(given[HEADER]) is None)
            or not takes(operation, content_type.decode("latin-1"))
            or not self.may_have(exchange_of(scope).caller, operation)
            or self._closing.has_begun
        ):
            return None
        media_type = negotiate(accept.decode("latin-1"), operation.media_types)
        limit = min(getattr(self._settings, operation.body_limit), HASHED_INLINE_BYTES)
        if media_type is None or len(body) > limit:
            return None
        return Asked(operation, content_type, media_type, body)

    def key(self, asked: Asked, scope: HTTPScope) -> bytes | None:
        """Return the key of an answer, where something was asked in these bytes before."""
        named = (asked.content_type, asked.media_type)
        return self._answering.key_of(asked.operation.method, scope, asked.body, named)

    def has_no_room(self, operation: Operation) -> bool:
        """Tell whether an operation would have to be computed where no more are taken."""
        return operation.heavy and self._answering.is_full

    def holds(self, key: bytes) -> bool:
        """Tell whether this process has an answer, and is not about to end."""
        return not self._closing.has_begun and self._answering.holds(key)

    def recall(self, key: bytes) -> CachedAnswer | None:
        """Return a kept answer that this process has."""
        return self._answering.held(key)

    @staticmethod
    def may_have(caller: Caller | None, operation: Operation) -> bool:
        """Tell whether a caller may have answers of an operation."""
        return caller is None or operation.scope is None or caller.may(operation.scope)

    @staticmethod
    def lines(operation: Operation, held: CachedAnswer) -> bytes:
        """Return the lines of the headers of an answer that this process has."""
        return _lines(operation, "memory", held.etag, held.media_type, len(held.body))


@lru_cache(maxsize=1024)
def _headers(
    operation: Operation, source: Source, etag: str | None, media_type: str, size: int
) -> tuple[Header, ...]:
    """Headers of a kept answer; those of one asked for again and again are made once."""
    headers = answer_headers(operation, source, etag)
    headers |= {"content-type": media_type, "content-length": str(size)}
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


@lru_cache(maxsize=1024)
def _lines(
    operation: Operation, source: Source, etag: str | None, media_type: str, size: int
) -> bytes:
    headers = _headers(operation, source, etag, media_type, size)
    return b"".join(b"%b: %b\r\n" % header for header in headers)
