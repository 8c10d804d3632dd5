"""Versions of engines as their operators write them."""

import re

Version = tuple[int, ...]
"""Major, minor and, where it counts, patch; two parts stand before all of their patches."""


def read_version(text: str | None, default: Version) -> Version:
    """Return major, minor and patch of `0.19`, `v0.19.1rc2` and the like, as far as they are named.

    `default` where none stands, and where only its own major and minor do.
    """
    found = re.match(r"\s*v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text or "", flags=re.ASCII)
    if found is None:
        return default
    named = tuple(int(part) for part in found.groups() if part is not None)
    return default if named == default[: len(named)] else named
