"""Versions of engines as their operators write them."""

import re
from typing import ClassVar

from rackfit.errors import InvalidInput

Version = tuple[int, ...]
"""Major, minor and, where it counts, patch; two parts stand before all of their patches."""

WRITTEN = re.compile(r"\s*v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?!\d)", flags=re.ASCII)
SHOWN = 40


def shown(version: Version) -> str:
    """Return a version as its operators write it."""
    return ".".join(map(str, version))


def read_version(text: str | None, default: Version, also: str = "") -> Version:
    """Return major, minor and patch of `0.19`, `v0.19.1rc2` and the like, as far as they are named.

    `default` where none is given, and where only its own major and minor are. `also` says how
    else this engine's versions are written.

    Raises:
        InvalidInput: at `/engine/version`, for what is no version.
    """
    if text is None:
        return default
    found = WRITTEN.match(text)
    if found is None:
        usual = f"major and minor, as in {shown(default)}{also}, or left out"
        detail = f"{text[:SHOWN]!r} is no version: {usual}."
        raise InvalidInput.at("/engine/version", detail)
    named = tuple(int(part) for part in found.groups() if part is not None)
    return default if named == default[: len(named)] else named


class Versioned:
    """The part of an engine that says which of its versions are planned for, and how it reads them.

    `current` is the version where none is named, `known` the oldest and the newest whose rules were
    read: an older or newer one is planned for by the nearer of the two, and the answer says so.
    """

    name: ClassVar[str]
    current: ClassVar[Version]
    known: ClassVar[tuple[Version, Version]]
    version: Version

    def read(self, version: str | None) -> Version:
        """The version that serves."""
        return read_version(version, self.current)

    def unknown_version(self) -> tuple[str, ...]:
        """Say of a version that is not known whose rules it is planned for by."""
        oldest, newest = self.known
        if self.version[: len(newest)] > newest:
            return (self._nearest("newer", newest, "newest"),)
        return (self._nearest("older", oldest, "oldest"),) if self.version < oldest else ()

    def _nearest(self, how: str, known: Version, which: str) -> str:
        return (
            f"{self.name} {shown(self.version)} is {how} than {shown(known)}, the {which} version "
            "whose rules are known here: it is planned for by those."
        )
