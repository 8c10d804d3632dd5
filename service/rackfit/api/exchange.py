"""What is noted of a request on its way in, for the response's headers, metrics and log."""

import msgspec
from litestar.types import Scope

KEY = "rackfit"
UNMATCHED = "unmatched"


class Exchange(msgspec.Struct):
    """One request and its response: filled in by those who come to know.

    `route` is the template of the path, never the path: metrics are labelled with it.
    `cache` is where the answer came from, `none` where there is none.
    """

    request_id: str
    route: str = UNMATCHED
    cache: str = "none"


def begin(scope: Scope, request_id: str) -> Exchange:
    """Note a new exchange in an ASGI scope."""
    exchange = Exchange(request_id)
    scope.setdefault("state", {})[KEY] = exchange
    return exchange


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that was begun in an ASGI scope."""
    exchange: Exchange = scope["state"][KEY]
    return exchange
