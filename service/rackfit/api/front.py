"""Answers that are kept, given without the framework: a question asked again, to the byte.

Whatever is not as plain as that (no answer yet, a condition, a body still on its way) goes on to
the framework untouched, so that there is one way to compute, to refuse and to explain.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from rackfit.access.callers import Caller
from rackfit.api.answering import INLINE_BYTES, Answering, Source
from rackfit.api.body import takes
from rackfit.api.closing import Closing
from rackfit.api.exchange import arrived, exchange_of
from rackfit.api.negotiation import MAX_ACCEPT, negotiate
from rackfit.api.operation import Operation
from rackfit.api.pipeline import answer_headers
from rackfit.api.sharing import Header
from rackfit.caching.answer import CachedAnswer
from rackfit.settings import Settings

WATCHED = frozenset(
    {b"accept", b"content-type", b"content-encoding", b"if-none-match", b"transfer-encoding"}
)
"""Headers that decide on the answer; those that call for more than looking one up are not taken."""

PLAIN = frozenset({b"accept", b"content-type"})
OK = 200


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
        """Answer one request, or pass it on."""
        if scope["type"] != ScopeType.HTTP:
            await self._application(scope, receive, send)
            return
        operation = self._operations.get((scope["method"], scope["path"]))
        key = None if operation is None else self._key(operation, scope, arrived(scope))
        kept = None if key is None else await self._answering.kept(key)
        if operation is None or kept is None:
            exchange_of(scope).looked_up = key is not None
            await self._application(scope, receive, send)
            return
        held, source = kept
        exchange = exchange_of(scope)
        exchange.route, exchange.cache = operation.path, source
        start = _headers(operation, source, held.etag, held.media_type, len(held.body))
        await send({"type": "http.response.start", "status": OK, "headers": [*start]})
        await send({"type": "http.response.body", "body": held.body, "more_body": False})

    def may_hold(self, scope: HTTPScope) -> bool:
        """Tell whether answers to such requests are kept."""
        return (scope["method"], scope["path"]) in self._operations

    def held(self, scope: HTTPScope, body: bytes) -> tuple[bytes, bytes] | None:
        """Return the lines of a kept answer's headers and its content, if this process has it."""
        found = self.found(scope, body)
        held = None if found is None else self.recall(found[1])
        if found is None or held is None:
            return None
        operation, _ = found
        exchange = exchange_of(scope)
        exchange.route, exchange.cache = operation.path, "memory"
        return self.lines(operation, held), held.body

    def found(self, scope: HTTPScope, body: bytes) -> tuple[Operation, bytes] | None:
        """Return the operation asked for and the key of its answer, where one is known."""
        operation = self._operations[scope["method"], scope["path"]]
        key = self._key(operation, scope, body)
        return None if key is None else (operation, key)

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

    def _key(self, operation: Operation, scope: HTTPScope, body: bytes | None) -> bytes | None:
        """Return the key of the answer to a plain request, where one like it was answered."""
        given = {name: value for name, value in scope["headers"] if name in WATCHED}
        content_type = given.get(b"content-type", b"")
        accept = given.get(b"accept", b"")
        if (
            not given.keys() <= PLAIN
            or sum(name in PLAIN for name, _ in scope["headers"]) != len(given)
            or len(accept) > MAX_ACCEPT
            or not takes(operation, content_type.decode("latin-1"))
            or not self.may_have(exchange_of(scope).caller, operation)
            or self._closing.has_begun
        ):
            return None
        media_type = negotiate(accept.decode("latin-1"), operation.media_types)
        limit = min(getattr(self._settings, operation.body_limit), INLINE_BYTES)
        if not body or media_type is None or len(body) > limit:
            return None
        return self._answering.key_of(operation.method, scope, body, (content_type, media_type))


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
