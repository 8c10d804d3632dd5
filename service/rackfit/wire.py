"""What the server and the application tell each other beside ASGI.

The server hands a request it cannot read to the application as well, with the reason, so that
every refusal is answered, counted and logged in one way. The application hands the server a
function to call when the process is told to end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

REFUSAL = "rackfit.refusal"
"""In a scope's `extensions`: a `Refusal`, where the server could not read the request."""

ARRIVED = "rackfit.arrived"
"""In a scope's `extensions`: an `Arrived`, which takes nothing of the body away."""

Arrived = Callable[[], bytes | None]
"""Returns a request's whole body, None while some of it is on its way."""

AT_ONCE = "rackfit.at-once"
"""In the lifespan's `state`: an `AtOnce`."""


class Sent(NamedTuple):
    """An answer to write as it is: its status, the lines of its headers, its content."""

    status: int
    head: bytes
    content: bytes


Again = Callable[[tuple[str, int] | None], Sent | None]
"""Answers one request once more, asked in the same bytes by a client at an address; None where it
takes the application to answer.
"""


class AtOnce(Protocol):
    """Answers requests that are here as a whole and take no application."""

    def answer(self, scope: dict[str, Any], body: bytes) -> Sent | None:
        """Answer a request; None where it takes the application to answer."""

    def again(self, scope: dict[str, Any], body: bytes) -> Again | None:
        """Return what answers once more a request that was just answered; None: nothing may."""


CLOSE = "rackfit.close"
"""In the lifespan's `state`: a function of the seconds that what is under way may still take."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is refused by the server itself."""

    status: int
    detail: str
