"""Everything Rackfit raises on purpose, drawn in one place.

RackfitError
├── InvalidInput          the caller's data is wrong: 422, one `Violation` a field
│   ├── UnknownName       a name nothing in the catalog answers to
│   └── TooMany           a list is longer than is taken: 413
├── NotFound              the path names nothing: 404
├── DeadlineExceeded      no time left before any answer existed: 503
├── NotCovered            kernel tables have nothing for a plan: the roofline tells
└── CatalogError          a data file is wrong: the service refuses to start

A split that does not work is not an error: it is a `Rejection` (see `engines.rejection`).
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec


class Violation(msgspec.Struct, frozen=True):
    """One thing wrong with the caller's input.

    `pointer` is a JSON Pointer (RFC 6901) into the request body, `""` for the whole body, or
    `?name` for a query parameter. `detail` names what is wrong and what would be right.
    """

    pointer: str
    detail: str


class RackfitError(Exception):
    """The root of everything raised on purpose."""


class InvalidInput(RackfitError):  # noqa: N818 (named for what it tells a caller)
    """The caller's data is wrong; `violations` lists every field at fault."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(v.detail for v in violations))
        self.violations = violations

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """Build the error for a single field."""
        return cls(Violation(pointer, detail))


class UnknownName(InvalidInput):
    """A name nothing in the catalog answers to; the message offers the closest ones."""


class TooMany(InvalidInput):
    """A list is longer than is taken; the message says how many items are."""


class NotFound(RackfitError):  # noqa: N818 (the same)
    """The path names something that does not exist."""


class DeadlineExceeded(RackfitError):  # noqa: N818 (the same)
    """No time was left before there was any answer to give."""


class NotCovered(RackfitError):  # noqa: N818 (the same)
    """Kernel tables have nothing for a model, an accelerator or a batch."""


class CatalogError(RackfitError):
    """A catalog data file cannot be used; the message names the file."""


SHOWN = 80
"""Characters of an unknown name repeated to the caller."""


CLOSE = 0.55
"""How alike two names must be, 1 being equal, for one to be offered for the other."""


def closest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to `limit` of `known` that look most like `name`, case aside."""
    by_folded = {k.casefold(): k for k in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=limit, cutoff=CLOSE)
    return [by_folded[f] for f in found]


def unknown_name(
    pointer: str, what: str, name: str, known: Sequence[str], *, few: bool = False
) -> Violation:
    """Describe an unknown `name`: what it was meant to be and the closest known ones.

    Where they are `few`, all are told if none is close.
    """
    near = closest(name, known)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    if few and not near:
        hint = f" Known: {', '.join(known)}."
    shown = name if len(name) <= SHOWN else name[:SHOWN] + "..."
    return Violation(pointer, f"There is no {what} named {shown!r}.{hint}")


def escaped(name: str) -> str:
    """A name as one step of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
