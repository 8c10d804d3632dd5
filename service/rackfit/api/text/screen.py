"""Text that fits a terminal: characters that are safe to show, their width, lines that end.

A node's name comes from a cluster and a model's from a stranger: what they hold must neither
steer the terminal nor push a table out of its columns.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate

COLUMNS = 80
JOINTS = "-._/:"
"""Where a long word may be broken."""


def printable(text: str) -> str:
    """Spell out what would steer a terminal: controls, marks of direction, unassigned ones."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    category = unicodedata.category(character)
    unsafe = category.startswith("C") or category in ("Zl", "Zp")
    return ascii(character)[1:-1] if unsafe else character


def width(text: str) -> int:
    """Return how many columns printable `text` takes (UAX #11: wide characters take two)."""
    return len(text) if text.isascii() else sum(map(_columns, text))


@lru_cache(maxsize=4096)
def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def wrap(text: str, columns: int) -> list[str]:
    """Break `text` into printable lines of at most `columns` (2 or more), losing no character.

    Lines end between words where they can and inside a word where they must, behind its
    punctuation if there is any.
    """
    lines = [""]
    for word in printable(text).split(" "):
        for piece in _pieces(word, columns):
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if width(joined) <= columns:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines


def _pieces(word: str, columns: int) -> Iterator[str]:
    """Yield a word in pieces that fit a line each."""
    while width(word) > columns:
        end = _fitting(word, columns)
        joint = max(word.rfind(mark, 0, end) for mark in JOINTS) + 1
        yield word[: joint or end]
        word = word[joint or end :]
    yield word


def _fitting(word: str, columns: int) -> int:
    """Return how many characters of `word` fit `columns`."""
    reached = accumulate(map(_columns, word))
    return next(index for index, used in enumerate(reached) if used > columns)
