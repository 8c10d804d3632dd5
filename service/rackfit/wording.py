"""What a type takes, in words a tired person understands: for settings, bodies and queries.

What a pattern takes its type says beside it, for a sentence in which it comes after the length:
`Meta(pattern="^[^,]+$", extra={"looks": "without commas"})`.
"""

from collections.abc import Iterable

from msgspec import inspect

SHOWN = 80
"""Characters of a wrong value that are repeated."""


def opened(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types a union is made of; annotations are taken off, but for such words."""
    match kind:
        case inspect.Metadata(extra={"looks": _}):
            return [kind]
        case inspect.Metadata(type=inner):
            return opened(inner)
        case inspect.UnionType(types=types):
            return [o for t in types for o in opened(t)]
        case _:
            return [kind]


def expected(kinds: Iterable[inspect.Type]) -> str:
    """Say what one of several types takes; null is left out, as the value itself may be."""
    said = [_expected(kind) for kind in kinds if not isinstance(kind, inspect.NoneType)]
    return either(dict.fromkeys(said))


def _expected(kind: inspect.Type) -> str:  # noqa: C901, PLR0911 - one for each type
    match kind:
        case inspect.Metadata(type=inner, extra={"looks": words}):
            return f"{_expected(inner)} {words}"
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.StrType():
            return "text" + _length(kind.min_length, kind.max_length, "character")
        case inspect.BytesType():
            return "base64"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return either(repr(value) for value in values)
        case inspect.ListType() | inspect.VarTupleType():
            return "a list" + _length(kind.min_length, kind.max_length, "item")
        case inspect.DictType():
            return "an object" + _length(kind.min_length, kind.max_length, "member")
        case inspect.StructType():
            return "an object"
        case _:
            return "something else"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    """Say the bounds: ` from 1 to 5`, ` above 0 and up to 1`, ` of 0 or more and below 1`."""
    if kind.ge is not None and kind.le is not None:
        return f" from {_figure(kind.ge)} to {_figure(kind.le)}"
    said = [
        *([f"above {_figure(kind.gt)}"] if kind.gt is not None else ()),
        *([f"of {_figure(kind.ge)} or more"] if kind.ge is not None else ()),
        *([f"below {_figure(kind.lt)}"] if kind.lt is not None else ()),
        *([f"up to {_figure(kind.le)}"] if kind.le is not None else ()),
    ]
    return " " + " and ".join(said) if said else ""


def _figure(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.10g}"


def _length(least: int | None, most: int | None, what: str) -> str:
    match least or 0, most:
        case 0, None:
            return ""
        case 0, most:
            return f" of at most {most:,} {what}s"
        case least, None:
            return f" of at least {least:,} {what}{'s' if least > 1 else ''}"
        case least, most if least == most:
            return f" of {least:,} {what}{'s' if least > 1 else ''}"
        case least, most:
            return f" of {least:,} to {most:,} {what}s"


def either(words: Iterable[str]) -> str:
    """Join alternatives: `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def shown(value: str) -> str:
    """Quote a value, cut where it is long."""
    return repr(value if len(value) <= SHOWN else value[:SHOWN] + "...")
