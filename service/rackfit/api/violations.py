"""From what msgspec says to what a tired person understands: a pointer and a sentence.

msgspec says ``Expected `int`, got `str` - at `$.nodes[0].count` ``. It leaves out which fields
and values there are, so those are looked up in the type that was being decoded.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import inspect

from rackfit.errors import Violation, closest
from rackfit.inventory.model import plainly

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]", re.ASCII)
_NAMED = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`\Z", re.DOTALL)
_UNKNOWN = "Object contains unknown field "
_NO_CHOICE = "Invalid enum value "
_LONGEST = 200  # characters of the caller's own that are worth repeating


def body_violation(message: str, body_type: type) -> Violation:
    """Turn msgspec's `message` about a body into a violation with a JSON Pointer."""
    said, steps = _parse(message)
    named = _named(said)
    pointer = "".join("/" + _escape(step) for step in (*steps, *named))
    return Violation(pointer, said + _hint(said, named, _types_at(body_type, steps)) + ".")


def query_violation(message: str, query_type: type) -> Violation:
    """Turn msgspec's `message` about a query into a violation that names the parameter."""
    said, steps = _parse(message)
    hint = _hint(said, (), _types_at(query_type, steps))
    return Violation("?" + "".join(steps[:1]), said + hint + ".")


def _parse(message: str) -> tuple[str, tuple[str, ...]]:
    """Split a message into what is wrong and the steps to where.

    The steps end at the first free key (`[...]`), which msgspec does not name.
    """
    said, _, where = message.rpartition(" - at `")
    if not said:
        return _shortened(plainly(message)), ()
    known, _, _ = where.partition("[...]")
    return _shortened(plainly(said)), tuple(name or index for name, index in _STEP.findall(known))


def _shortened(said: str) -> str:
    """Cut a message that repeats a very long name or value; its closing quote stays."""
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 4]}...{said[-1]}"


def _named(said: str) -> tuple[str, ...]:
    """Return the field a message is about, where that is not the one it points at."""
    found = _NAMED.match(said)
    return (found[1],) if found else ()


def _escape(step: str) -> str:
    """Escape one step of a JSON Pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def _hint(said: str, named: Sequence[str], types: Sequence[inspect.Type]) -> str:
    """Return what would have been right: the fields, or the values, there are."""
    if said.startswith(_UNKNOWN):
        fields = [
            f.encode_name for t in types if isinstance(t, inspect.StructType) for f in t.fields
        ]
        near = closest(named[0], fields)
        meant = f" Did you mean `{near[0]}`?" if near else ""
        return f".{meant} Known: {', '.join(fields)}"
    if said.startswith(_NO_CHOICE):
        values = [v for t in types if isinstance(t, inspect.LiteralType) for v in t.values]
        return f"; one of {', '.join(map(repr, values))}"
    return ""


def _types_at(root: type, steps: Iterable[str]) -> list[inspect.Type]:
    """Return the types that a value at `steps` inside `root` may have."""
    types = opened(inspect.type_info(root))
    for step in steps:
        types = [t for outer in types for inner in _inner(outer, step) for t in opened(inner)]
    return types


def opened(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types a union is made of, annotations taken off."""
    match kind:
        case inspect.Metadata(type=inner):
            return opened(inner)
        case inspect.UnionType(types=types):
            return [o for t in types for o in opened(t)]
        case _:
            return [kind]


def _inner(kind: inspect.Type, step: str) -> list[inspect.Type]:
    """Return the types of what lies one step inside a value of type `kind`."""
    match kind:
        case inspect.StructType(fields=fields):
            return [field.type for field in fields if field.encode_name == step]
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [item]
        case _:
            return []
