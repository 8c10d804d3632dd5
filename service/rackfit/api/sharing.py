"""Pages of other origins (CORS): none may read answers, unless the settings name them."""

from collections.abc import Collection, Iterable

from litestar.types import HTTPScope

from rackfit.api.headers import raw_values

Header = tuple[bytes, bytes]

METHODS = b"GET, HEAD, POST, OPTIONS"
ASKED = (
    b"accept, authorization, content-type, if-none-match, traceparent, x-request-id, "
    b"x-request-timeout"
)
SHOWN = b"cache-status, etag, retry-after, x-request-id"
MAX_AGE_SECONDS = b"600"


class Sharing:
    """Says what a browser is told; `origins` are exact: `https://dash.example:8443`."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def headers(self, scope: HTTPScope) -> Iterable[Header]:
        """Return what every response to this request has beside its own headers."""
        if not self._origins:
            return ()
        origin = _first(scope, b"origin")
        if origin not in self._origins:
            return ((b"vary", b"Origin"),)
        return (
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", SHOWN),
        )

    def preflight(self, scope: HTTPScope) -> tuple[Header, ...] | None:
        """Return the answer to a browser that asks first; None where this is no such question.

        It has no credentials to show, and so is answered before anybody is asked for them.
        """
        asks = scope["method"] == "OPTIONS" and _first(scope, b"access-control-request-method")
        if not asks or _first(scope, b"origin") not in self._origins:
            return None
        return (
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", ASKED),
            (b"access-control-max-age", MAX_AGE_SECONDS),
        )


def _first(scope: HTTPScope, wanted: bytes) -> bytes:
    return next(iter(raw_values(scope, wanted)), b"")
