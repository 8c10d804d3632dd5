"""What is noted of a request on its way in, for the response's headers, metrics and log."""

from typing import cast

import msgspec
from litestar.types import Scope

from rackfit.access.callers import Caller
from rackfit.api.problems import RequestError
from rackfit.telemetry import Trace
from rackfit.wire import ARRIVED, REFUSAL, Arrived, Refusal

KEY = "rackfit"
UNMATCHED = "unmatched"
CLIENT_GONE = 499
"""The status counted and logged where nobody is left to answer; it is never sent."""


class ClientGone(Exception):  # noqa: N818 - no error: the caller no longer wants an answer
    """The caller hung up before there was an answer."""


class Exchange(msgspec.Struct):
    """One request and its response: filled in by those who come to know.

    `route` is the template of the path, never the path: metrics are labelled with it.
    `cache` is where the answer came from, `none` where there is none; `caller` who asks, None
    where nobody is asked who they are; `trace` the trace it belongs to, None where it names none.
    `looked_up` tells that the cache, Redis too, was just found not to have the answer. The gate
    is asked once: it has `admitted` the caller, or it has `refused`.
    """

    request_id: str
    route: str = UNMATCHED
    cache: str = "none"
    caller: Caller | None = None
    trace: Trace | None = None
    looked_up: bool = False
    admitted: bool = False
    refused: RequestError | None = None


def unreadable(scope: Scope) -> Refusal | None:
    """Return why the server could not read a request, or its body; None where it could."""
    return cast("Refusal | None", (scope.get("extensions") or {}).get(REFUSAL))


def arrived(scope: Scope) -> bytes | None:
    """Return a request's body if all of it is here already."""
    known = cast("Arrived | None", (scope.get("extensions") or {}).get(ARRIVED))
    return None if known is None else known()


def begin(scope: Scope, request_id: str) -> Exchange:
    """Note a new exchange in an ASGI scope."""
    exchange = Exchange(request_id)
    scope.setdefault("state", {})[KEY] = exchange
    return exchange


def begun(scope: Scope) -> bool:
    """Tell whether an exchange was begun in an ASGI scope."""
    return KEY in scope.get("state", {})


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that was begun in an ASGI scope."""
    exchange: Exchange = scope["state"][KEY]
    return exchange
