"""Content negotiation: which media type an answer goes out in (RFC 9110 section 12.5.1)."""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from rackfit.api.operation import MESSAGE_PACK

MAX_ACCEPT = 4096
"""Characters of an Accept header that are read; browsers send about a hundred."""

ALIASES = {
    "application/x-msgpack": MESSAGE_PACK,
    "application/vnd.msgpack": MESSAGE_PACK,
}
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z", re.ASCII)


class _Range(msgspec.Struct, frozen=True):
    """One media range of an Accept header: `*` stands for any."""

    type: str
    subtype: str
    quality: float

    def specificity(self, offer: str) -> int:
        """Return how closely the range names `offer`: 3 exactly, 1 by `*/*`, 0 not at all."""
        kind, _, subtype = offer.partition("/")
        if self.type == "*":
            return 1
        if self.type != kind:
            return 0
        if self.subtype == "*":
            return 2
        return 3 if self.subtype == subtype else 0


@lru_cache(maxsize=256)
def negotiate(accept: str, offers: Sequence[str]) -> str | None:
    """Choose the media type of an answer.

    Args:
        accept: The Accept header, `""` where there is none.
        offers: Media types there are, the preferred first.

    Returns:
        The offer of the highest quality, the earlier one among equals; None where all are
        refused. A header without one well-formed range counts as absent.
    """
    ranges = [r for r in map(_parse, accept.split(",")) if r]
    if not ranges:
        return offers[0]
    best = max(offers, key=lambda offer: _quality(offer, ranges))
    return best if _quality(best, ranges) > 0 else None


def _quality(offer: str, ranges: Sequence[_Range]) -> float:
    """Return the quality the most specific range that names `offer` gives it."""
    _, quality = max((r.specificity(offer), r.quality) for r in ranges)
    named = any(r.specificity(offer) for r in ranges)
    return quality if named else 0.0


def _parse(text: str) -> _Range | None:
    """Read one media range; parameters other than `q` are passed over."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    kind, slash, subtype = ALIASES.get(name, name).partition("/")
    if not (kind and slash and subtype) or (kind == "*" and subtype != "*"):
        return None
    quality = next((p[2:].strip() for p in parameters if p.startswith("q=")), "1")
    return _Range(kind, subtype, float(quality)) if _QUALITY.match(quality) else None
