"""API keys: random, kept as digests, one line each in a file that an operator writes.

A key has 256 random bits, so that its plain SHA-256 tells nothing about it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping

from rackfit.access.callers import IMPLIED, NAME, Caller, read_scopes

PREFIX = "rackfit_"
"""What every key begins with, so that scanners for leaked secrets find it."""

Keys = Mapping[bytes, Caller]
"""Callers by the digests of their keys."""


def new_key(name: str, scopes: Iterable[str]) -> tuple[str, str]:
    """Make a key; return it and the line to keep of it.

    Raises:
        ValueError: a sentence, for a name or a scope that no line may have.
    """
    _check(name, listed := list(scopes))
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{name} {','.join(listed)} {digest(key).hex()}"


def digest(key: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(content: bytes) -> Keys:
    """Read a file of keys: `name scopes digest` a line; empty lines and `#` lines are passed over.

    Raises:
        ValueError: with the number of the line at fault, and never what it says.
    """
    keys: dict[bytes, Caller] = {}
    for number, line in _lines(content):
        try:
            kept, caller = read_line(line)
        except ValueError as error:
            msg = f"line {number}: {error}"
            raise ValueError(msg) from None
        if keys.setdefault(kept, caller) is not caller:
            msg = f"line {number}: the digest stands in an earlier line already"
            raise ValueError(msg)
    if not keys:
        msg = "it holds no key"
        raise ValueError(msg)
    return keys


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def read_line(line: str) -> tuple[bytes, Caller]:
    """Read one line.

    Raises:
        ValueError: a sentence without the line's own words.
    """
    words = line.split()
    if len(words) != 3:  # noqa: PLR2004 - name, scopes and digest
        msg = "it must be a name, scopes joined by commas, and a digest"
        raise ValueError(msg)
    name, scopes, kept = words
    _check(name, scopes.split(","))
    try:
        decoded = bytes.fromhex(kept)
    except ValueError:
        decoded = b""
    if len(decoded) != hashlib.sha256().digest_size:
        msg = "a digest is 64 hexadecimal digits, as `rackfit key` prints them"
        raise ValueError(msg)
    return decoded, Caller(name, read_scopes(scopes.split(",")))


def _check(name: str, scopes: Iterable[str]) -> None:
    if not NAME.fullmatch(name):
        msg = "a name has letters, digits, `.`, `_` and `-`, at most 64"
        raise ValueError(msg)
    if not set(scopes) <= set(IMPLIED):
        msg = f"scopes are {', '.join(IMPLIED)}"
        raise ValueError(msg)


def owner(keys: Keys, key: str) -> Caller | None:
    """Return whose key this is, in a time that does not depend on how near it comes to one."""
    shown = digest(key)
    found: Caller | None = None
    for kept, caller in keys.items():
        if hmac.compare_digest(kept, shown):
            found = caller
    return found
