"""Versions of engines as their operators write them."""

import re

from rackfit.errors import InvalidInput

Version = tuple[int, ...]
"""Major, minor and, where it counts, patch; two parts stand before all of their patches."""

WRITTEN = re.compile(r"\s*v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?!\d)", flags=re.ASCII)
SHOWN = 40


def read_version(text: str | None, default: Version) -> Version:
    """Return major, minor and patch of `0.19`, `v0.19.1rc2` and the like, as far as they are named.

    `default` where none is given, and where only its own major and minor are.

    Raises:
        InvalidInput: at `/engine/version`, for what is no version.
    """
    if text is None:
        return default
    found = WRITTEN.match(text)
    if found is None:
        usual = ".".join(map(str, default))
        detail = f"{text[:SHOWN]!r} is no version: major and minor, as in {usual}, or left out."
        raise InvalidInput.at("/engine/version", detail)
    named = tuple(int(part) for part in found.groups() if part is not None)
    return default if named == default[: len(named)] else named
