"""Typed access to the fields of a foreign config; every error carries a JSON Pointer.

A wrong field is noted and a harmless stand-in returned, so that one reading finds every
field at fault. `Fields.check` raises what was noted.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from rackfit.errors import InvalidInput, Violation, escaped

MAX_LAYERS = 10_000
MAX_SIDE = 1 << 26  # a hundred times the widest side anyone has published
MAX_EXPERTS = 1 << 16
MAX_POSITIONS = 1 << 40
MAX_FACTOR = 1 << 20
Kind = type | tuple[type, ...]
PLURALS: dict[Kind, str] = {
    Mapping: "objects",
    str: "strings",
    int: "whole numbers",
    (int, float): "numbers",
}


class Reading(NamedTuple):
    """What the fields of one config share: what is wrong, and what each object was asked for.

    `asked` maps the pointer of an object to the names asked for and the object itself.
    """

    violations: list[Violation]
    asked: dict[str, tuple[set[str], Mapping[str, Any]]]


class Fields:
    """One JSON object of a config, read by name.

    The first name given is the one a missing field is reported under; the others are aliases
    other configs use. JSON null means absent. Booleans are no numbers. What is asked for is
    remembered, so that `unread` can tell what nobody asked for.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        pointer: str,
        reading: "Reading | None" = None,
        defaults: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._values = values
        self._defaults = defaults
        self._pointer = pointer
        self._reading = Reading([], {}) if reading is None else reading
        self._violations = self._reading.violations
        self._asked = self._reading.asked.setdefault(pointer, (set(), values))[0]

    def check(self) -> None:
        """Raise InvalidInput with everything noted so far, if anything was."""
        if self._violations:
            raise InvalidInput(*self._violations)

    def fail(self, name: str, detail: str) -> None:
        """Note that the field `name` is wrong; what it was first found to be is told."""
        pointer = f"{self._pointer}/{name}"
        if all(violation.pointer != pointer for violation in self._violations):
            self._violations.append(Violation(pointer, detail))

    def aside(self) -> "Fields":
        """Return these fields for a look that does not count as reading them."""
        return Fields(self._values, self._pointer, Reading(self._violations, {}), self._defaults)

    def require(self, name: str, detail: str, *, holds: bool) -> None:
        """Note a rule between fields that does not hold, unless a field was wrong already."""
        if not holds and not self._violations:
            self.fail(name, detail)

    def has(self, name: str) -> bool:
        """Say whether the field is there and not null."""
        return self._get(name) is not None

    def holds_list(self, name: str) -> bool:
        """Say whether the field is an array (some configs hold a number in its place)."""
        return isinstance(self._get(name), list | tuple)

    def holds_text(self, name: str) -> bool:
        """Say whether the field is a string."""
        return isinstance(self._get(name), str)

    def length(self, name: str) -> int:
        """Return the number of an array's entries: 1 for a lone value, 0 for an absent one."""
        value = self._get(name)
        if isinstance(value, list | tuple):
            return min(len(value), MAX_LAYERS)
        return 0 if value is None else 1

    def inherit(self, other: "Fields", *names: str) -> "Fields":
        """Return these fields with those of `names` that they lack taken from `other`."""
        lacked = [name for name in names if self._values.get(name) is None]
        return self.replace(**{name: other._get(name) for name in lacked})  # noqa: SLF001 - its own kind

    def replace(self, **values: object) -> "Fields":
        """Return these fields with other values."""
        replaced = {**self._values, **values}
        return Fields(replaced, self._pointer, self._reading, self._defaults)

    def or_else(self, **defaults: object) -> "Fields":
        """Return these fields with a family's defaults for those left out.

        Null stays null, and an alias that is there wins over the default of its first name.
        """
        both = {**defaults, **self._defaults}
        return Fields(self._values, self._pointer, self._reading, both)

    def integer(
        self, *names: str, default: int | None = None, least: int = 1, most: int = MAX_SIDE
    ) -> int:
        """Return a whole number from `least` to `most`; without a default it must be there."""
        name, value = self._find(names)
        if type(value) is int and least <= value <= most:
            return value
        if value is None and default is not None:
            return default
        if value is None:
            self.fail(name, f"{name} is missing.")
        else:
            wanted = f"a whole number from {least} to {most}"
            self.fail(name, f"{name} must be {wanted}, got {show(value)}.")
        return least

    def repeated(self, name: str, *, default: int | None = None, most: int = MAX_SIDE) -> int:
        """Return a positive whole number that some configs repeat in a list, once a layer."""
        if not self.holds_list(name):
            return self.integer(name, default=default, most=most)
        values = self.integers(name, most=most)
        alike = len(set(values)) == 1 and values[0] > 0
        self.require(name, f"{name} must be the same positive number in every layer.", holds=alike)
        return values[0] if alike else 1

    def optional(self, *names: str, most: int = MAX_SIDE) -> int | None:
        """Return a positive whole number, or None where the field is absent."""
        _, value = self._find(names)
        return None if value is None else self.integer(*names, most=most)

    def nullable(self, name: str, *, default: int) -> int | None:
        """Return a positive whole number: `default` where it is left out, None where it is null."""
        return self.optional(name) if name in self._values else default

    def number(self, *names: str, default: float) -> float:
        """Return a number above 0 and at most 2^20 (a factor of something)."""
        name, value = self._find(names)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 < value <= MAX_FACTOR:
            return float(value)
        wanted = f"a number above 0 and at most {MAX_FACTOR}"
        self.fail(name, f"{name} must be {wanted}, got {show(value)}.")
        return 1.0

    def numbers(self, name: str, *, length: int, spare: int = 0) -> list[float]:
        """Return one number above 0 and at most 2^20 a layer; `spare` as in `words`."""
        values = self._items(name, (int, float), length=length, stand_in=1.0, spare=spare)
        for i, value in enumerate(values):
            if isinstance(value, bool) or not 0 < value <= MAX_FACTOR:
                self.fail(f"{name}/{i}", f"{name} holds numbers above 0, at most {MAX_FACTOR}.")
                return [1.0] * len(values)
        return values

    def flag(self, *names: str, default: bool = False) -> bool:
        """Return true or false."""
        name, value = self._find(names)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(name, f"{name} must be true or false, got {show(value)}.")
            return default
        return value

    def text(self, *names: str, default: str = "") -> str:
        """Return a string."""
        name, value = self._find(names)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fail(name, f"{name} must be a string, got {show(value)}.")
            return default
        return value

    def section(self, name: str) -> "Fields":
        """Return a nested object; an absent one is empty."""
        value = self._get(name)
        if value is not None and not isinstance(value, Mapping):
            self.fail(name, f"{name} must be an object, got {show(value)}.")
            value = None
        return Fields(value or {}, f"{self._pointer}/{name}", self._reading)

    def sections(self, name: str, *, length: int) -> "list[Fields]":
        """Return a list of `length` nested objects."""
        return [
            Fields(value, f"{self._pointer}/{name}/{i}", self._reading)
            for i, value in enumerate(self._items(name, Mapping, length=length, stand_in={}))
        ]

    def words(self, name: str, *, length: int, known: Sequence[str], spare: int = 0) -> list[str]:
        """Return one string a layer, each of `known`; up to `spare` more may follow."""
        values = self._items(name, str, length=length, stand_in=known[0], spare=spare)
        unknown = set(values).difference(known)
        if unknown:
            i = next(i for i, value in enumerate(values) if value in unknown)
            self.fail(f"{name}/{i}", f"{show(values[i])} is none of {', '.join(known)}.")
            return [known[0]] * length
        return values

    def integers(
        self, name: str, *, length: int | None = None, spare: int = 0, most: int = MAX_SIDE
    ) -> list[int]:
        """Return whole numbers from 0 to `most`; `length` and `spare` as in `words`, None: any."""
        values = self._items(name, int, length=length, stand_in=0, spare=spare)
        if values and (min(values) < 0 or max(values) > most or bool in map(type, values)):
            wrong = [isinstance(v, bool) or not 0 <= v <= most for v in values]
            at = f"{name}/{wrong.index(True)}"
            self.fail(at, f"{name} holds whole numbers from 0 to {most}.")
            return [0] * len(values)
        return values

    def moot(self, *names: str) -> None:
        """Take note of fields that another field makes irrelevant."""
        self._asked.update(names)

    def unread(self) -> Iterator[tuple[str, Any]]:
        """Yield JSON Pointer and value of every field that is there and was never asked for."""
        for pointer, (asked, values) in self._reading.asked.items():
            for name, value in values.items():
                if value is not None and name not in asked:
                    yield f"{pointer}/{escaped(name)}", value

    def unread_sections(self) -> Iterator[str]:
        """Yield the name of every `*_config` object here that was never asked for."""
        for name in [name for name in self._values if name.endswith("_config")]:
            if name not in self._asked and isinstance(self._values[name], Mapping):
                yield name

    def _get(self, name: str) -> Any:  # noqa: ANN401 - whatever the config holds
        self._asked.add(name)
        return self._values[name] if name in self._values else self._defaults.get(name)

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        self._asked.update(names)
        values = self._values
        for name in names:
            value = values.get(name)
            if value is not None:
                return name, value
        for name in names if self._defaults else ():
            if name in self._defaults and name not in self._values:
                return name, self._defaults[name]
        return names[0], None

    def _items(
        self,
        name: str,
        kind: type | tuple[type, ...],
        *,
        length: int | None,
        stand_in: object,
        spare: int = 0,
    ) -> list[Any]:
        values = self._get(name)
        least, most = (0, MAX_LAYERS) if length is None else (length, length + spare)
        if not isinstance(values, list | tuple) or not _all_of(values, kind):
            self.fail(name, f"{name} must be a list of {PLURALS[kind]}, got {show(values)}.")
        elif not least <= len(values) <= most:
            wanted = (
                f"at most {MAX_LAYERS}" if length is None else f"one for each of {length} layers"
            )
            self.fail(name, f"{name} holds {len(values)} entries; there must be {wanted}.")
        else:
            return list(values)
        return [stand_in] * least


def _all_of(values: Sequence[object], kind: Kind) -> bool:
    """Tell whether all values are of a kind; lists of layers hold few types, each asked once."""
    return all(issubclass(each, kind) for each in set(map(type, values)))


def show(value: object) -> str:
    """Show a wrong value within a sentence, in at most 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 128:  # noqa: PLR2004 - more digits than anyone reads
        return "a far larger number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - the docstring's length
