"""What the server and the application tell each other beside ASGI.

The server hands a request it cannot read to the application as well, with the reason, so that
every refusal is answered, counted and logged in one way. The application hands the server a
function to call when the process is told to end.
"""

from collections.abc import Callable
from typing import Any

import msgspec

REFUSAL = "rackfit.refusal"
"""In a scope's `extensions`: a `Refusal`, where the server could not read the request."""

ARRIVED = "rackfit.arrived"
"""In a scope's `extensions`: an `Arrived`, which takes nothing of the body away."""

Arrived = Callable[[], bytes | None]
"""Returns a request's whole body, None while some of it is on its way."""

AT_ONCE = "rackfit.at-once"
"""In the lifespan's `state`: an `AtOnce`."""

AtOnce = Callable[[dict[str, Any], bytes], tuple[bytes, bytes] | None]
"""Takes a request's scope and whole body; returns the header lines and the content of its answer,
which is always a 200; None where it takes the application to answer.
"""

CLOSE = "rackfit.close"
"""In the lifespan's `state`: a function of the seconds that what is under way may still take."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is refused by the server itself."""

    status: int
    detail: str
