"""Placement requests as callers send them, and the answers as they receive them: plain JSON."""

from collections.abc import Callable
from typing import Any

import msgspec

from rackfit.balancing.answer import answer_placement
from rackfit.balancing.question import PlacementRequest

Json = dict[str, Any]


def never() -> bool:
    """No deadline."""
    return False


def answer(question: Json, expired: Callable[[], bool] = never) -> Json:
    """Place as the service does and return what is sent."""
    decoded = msgspec.json.decode(msgspec.json.encode(question), type=PlacementRequest)
    sent: Json = msgspec.json.decode(msgspec.json.encode(answer_placement(decoded, expired)))
    return sent
