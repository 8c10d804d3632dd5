"""How long a caller waits for an answer: `X-Request-Timeout`, in seconds."""

import re
from http import HTTPStatus

from litestar.types import HTTPScope

from rackfit.api.headers import raw_values
from rackfit.api.problems import RequestError

HEADER = b"x-request-timeout"

MAX_LENGTH = 40
_NUMBER = re.compile(rb"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""A number of JSON without a sign."""


def read_seconds(value: bytes) -> float | None:
    """Read a header; None where it does not tell a time to wait."""
    if len(value) > MAX_LENGTH or not _NUMBER.fullmatch(value):
        return None
    return float(value) or None


def patience(scope: HTTPScope, most: float) -> float:
    """Return the seconds an answer may take from when its request is here: `most` at most.

    Raises:
        RequestError: 400 where the header tells no time to wait, or is there twice.
    """
    given = raw_values(scope, HEADER)
    if not given:
        return most
    seconds = read_seconds(given[0]) if len(given) == 1 else None
    if seconds is None:
        detail = "X-Request-Timeout must be given once, in seconds: a number above 0, such as 2.5."
        raise RequestError.of(HTTPStatus.BAD_REQUEST, detail)
    return min(seconds, most)
