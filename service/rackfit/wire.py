"""What the server and the application tell each other beside ASGI.

The server hands a request it cannot read to the application as well, with the reason, so that
every refusal is answered, counted and logged in one way. The application hands the server a
function to call when the process is told to end.
"""

import msgspec

REFUSAL = "rackfit.refusal"
"""In a scope's `extensions`: a `Refusal`, where the server could not read the request."""

CLOSE = "rackfit.close"
"""In the lifespan's `state`: a function of the seconds that what is under way may still take."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is refused by the server itself."""

    status: int
    detail: str
