"""Where a request stands in its caller's trace: `traceparent` (W3C Trace Context)."""

import re

from litestar.types import HTTPScope

from rackfit.api.headers import raw_values
from rackfit.telemetry import Trace

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
"""Version, trace, span and flags; versions to come may say more behind another dash."""

FIRST, FORBIDDEN = b"00", b"ff"
SAMPLED = 1
"""The flag by which a caller says that it keeps this trace."""


def trace_of(scope: HTTPScope) -> Trace | None:
    """Return the trace a request belongs to; None where it names none, or wrongly."""
    given = raw_values(scope, b"traceparent")
    found = _PARENT.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    wrong = version == FORBIDDEN or (version == FIRST and more is not None)
    if wrong or not trace.strip(b"0") or not span.strip(b"0"):
        return None
    return Trace(trace.decode(), span.decode(), sampled=bool(int(flags, 16) & SAMPLED))
