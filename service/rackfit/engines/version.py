"""Versions of engines as their operators write them."""

import re

Version = tuple[int, int]


def read_version(text: str | None, default: Version) -> Version:
    """Return major and minor of `0.19`, `v0.19.1rc2` and the like; `default` where none stands."""
    found = re.match(r"\s*v?(\d{1,4})\.(\d{1,4})", text or "", flags=re.ASCII)
    return default if found is None else (int(found[1]), int(found[2]))
