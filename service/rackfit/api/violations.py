"""From what msgspec says to what a tired person understands: a pointer and a sentence.

msgspec says ``Expected `int`, got `str` - at `$.nodes[0].count` ``. What would be right (the range,
the choices, the fields there are) is looked up in the type that was being decoded.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import inspect

from rackfit.errors import InvalidInput, TooMany, Violation, closest, escaped
from rackfit.wording import expected, opened

ANY = "..."
"""The step into a free-form object, whose keys msgspec does not name."""

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+|\.\.\.)\]", re.ASCII)
_WHERE = re.compile(r"(.*) - at `(?:(key)` in `)?(\$.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_GOT = re.compile(r"Expected `[^`]+`, got `([a-z]+)`\Z")
_TOO_LONG = re.compile(r"Expected `(?:array|object)` of length <= ([0-9]+)\Z")
_NO_CHOICE = re.compile(r"Invalid enum value (.*)\Z", re.DOTALL)
_MSGSPEC = re.compile(r"Expected `|Invalid |Number out of range|Integer value out of range")
_LONGEST = 200  # characters of the caller's own that are worth repeating
_GIVEN = {
    "str": "text",
    "int": "a whole number",
    "float": "a number with a fraction",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}


class _Fault(msgspec.Struct, frozen=True):
    """What msgspec said, and the steps to where; `is_key` where it is a key of an object."""

    said: str
    steps: tuple[str, ...]
    is_key: bool

    @classmethod
    def parse(cls, message: str) -> "_Fault":
        found = _WHERE.match(message)
        if not found:
            return cls(message, (), is_key=False)
        said, key, where = found.groups()
        steps = tuple(name or index for name, index in _STEP.findall(where))
        return cls(said, steps, is_key=key is not None)

    @property
    def subject(self) -> str:
        """Name what is wrong: the field, an item of it, or all that was sent."""
        outer, last = ["", "", *self.steps][-2:]
        if self.is_key:
            return f"A name in `{last}`"
        if last == ANY:
            return f"A value in `{outer}`"
        named = _named_by(self.steps)
        return named[0].upper() + named[1:]


def _named_by(steps: Sequence[str]) -> str:
    """Name what the steps lead to: a field, an item by its place in its list, or the body."""
    *outer, last = steps or ("",)
    if last.isdecimal():
        return f"item {last} of {_named_by(outer)}"
    return f"`{last}`" if last else "the body"


def body_error(message: str, body_type: type) -> InvalidInput:
    """Turn msgspec's `message` about a body into an error with a JSON Pointer."""
    fault = _Fault.parse(message)
    steps = [*fault.steps, *_named(fault.said)]
    steps = steps[: steps.index(ANY)] if ANY in steps else steps
    pointer = "".join("/" + escaped(step) for step in steps)
    return _error(pointer, fault, _types_at(body_type, fault.steps))


def query_error(message: str, query_type: type) -> InvalidInput:
    """Turn msgspec's `message` about a query into an error that names the parameter."""
    fault = _Fault.parse(message)
    name = (*fault.steps, *_named(fault.said))[0]
    return _error(f"?{name}", fault, _types_at(query_type, fault.steps))


def _error(pointer: str, fault: _Fault, types: Sequence[inspect.Type]) -> InvalidInput:
    violation = Violation(pointer, _sentence(fault, types))
    return TooMany(violation) if _TOO_LONG.match(fault.said) else InvalidInput(violation)


def _sentence(fault: _Fault, types: Sequence[inspect.Type]) -> str:
    if found := _MISSING.match(fault.said):
        field = _fields(types).get(found[1])
        right = f"; it must be {expected(opened(field.type))}" if field else ""
        return f"`{found[1]}` is missing{right}."
    if found := _UNKNOWN.match(fault.said):
        return _unknown_field(found[1], types)
    if found := _TOO_LONG.match(fault.said):
        return f"{fault.subject} may have at most {int(found[1]):,} items."
    if not _MSGSPEC.match(fault.said):  # a check of ours, in words of ours
        return f"{fault.said[0].upper()}{fault.said[1:]}."
    if fault.is_key:
        types = [kind.key_type for kind in types if isinstance(kind, inspect.DictType)]
    return f"{fault.subject} must be {_right(types)}{_but(fault.said)}."


def _but(said: str) -> str:
    """Tell what else it must not be, or what was given instead, as far as msgspec does."""
    if found := _GOT.match(said):
        return f", not {_GIVEN.get(found[1], found[1])}"
    if found := _NO_CHOICE.match(said):
        return f", not {_shortened(found[1])}"
    return ""


def _right(types: Sequence[inspect.Type]) -> str:
    known = [kind for kind in types if not isinstance(kind, inspect.AnyType)]
    return expected(known) if known else "a finite number of at most 64 bits"


def _unknown_field(name: str, types: Sequence[inspect.Type]) -> str:
    fields = list(_fields(types))
    near = closest(name, fields)
    meant = f" Did you mean `{near[0]}`?" if near else ""
    return f"There is no field `{_shortened(name)}` here.{meant} Known: {', '.join(fields)}."


def _fields(types: Sequence[inspect.Type]) -> dict[str, inspect.Field]:
    structs = [kind for kind in types if isinstance(kind, inspect.StructType)]
    return {field.encode_name: field for kind in structs for field in kind.fields}


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else name[:_LONGEST] + "..."


def _named(said: str) -> tuple[str, ...]:
    """Return the field a message is about, where that is not the one it points at."""
    found = _MISSING.match(said) or _UNKNOWN.match(said)
    return (_shortened(found[1]),) if found else ()


def _types_at(root: type, steps: Sequence[str]) -> list[inspect.Type]:
    """Return the types that a value at `steps` inside `root` may have."""
    types = opened(inspect.type_info(root))
    for step in steps:
        types = [t for outer in types for inner in _inner(outer, step) for t in opened(inner)]
    return types


def _inner(kind: inspect.Type, step: str) -> list[inspect.Type]:
    """Return the types of what lies one step inside a value of type `kind`."""
    match kind:
        case inspect.StructType(fields=fields):
            return [field.type for field in fields if field.encode_name == step]
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [item]
        case inspect.DictType(value_type=value) if step == ANY:
            return [value]
        case _:
            return []
