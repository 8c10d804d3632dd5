"""Callers and what they may do."""

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Scope = Literal["read", "plan", "admin"]
"""`read` what the catalog holds; `plan`: have something computed, and read; `admin`: everything."""

IMPLIED: Final[dict[Scope, frozenset[Scope]]] = {
    "read": frozenset({"read"}),
    "plan": frozenset({"read", "plan"}),
    "admin": frozenset({"read", "plan", "admin"}),
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a caller with a key is called: a word, for logs and files alike."""


class Caller(msgspec.Struct, frozen=True):
    """Somebody who showed a key or a token, and all that it allows."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether something that needs `scope` is allowed."""
        return scope in self.scopes


def read_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes that words name and those they imply; other words are passed over."""
    return frozenset(scope for word in words for scope in _implied(word))


def _implied(word: str) -> frozenset[Scope]:
    return next((implied for scope, implied in IMPLIED.items() if scope == word), frozenset())
