"""From a query string to a struct: every parameter known, given once and well formed."""

import math
import re
from collections.abc import Mapping
from functools import cache
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from rackfit.api.decoding import malformed
from rackfit.api.violations import query_error
from rackfit.errors import InvalidInput, TooMany, Violation, closest
from rackfit.wording import opened, shown

MAX_PARAMETERS = 100
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?\Z", re.ASCII)


class _Parameter(msgspec.Struct, frozen=True):
    """How one parameter is read: as a list or one value, of numbers or text."""

    listed: bool
    numeric: bool

    @classmethod
    def of(cls, kind: inspect.Type) -> "_Parameter":
        kinds = opened(kind)
        if isinstance(kinds[0], inspect.VarTupleType):
            return cls(listed=True, numeric=cls.of(kinds[0].item_type).numeric)
        return cls(listed=False, numeric=isinstance(kinds[0], inspect.IntType | inspect.FloatType))

    def read(self, text: str) -> object:
        if self.listed:
            return [self._scalar(item) for item in text.split(",")]
        return self._scalar(text)

    def _scalar(self, text: str) -> object:
        """Read a number where one is due; what is wrong is left for msgspec to say."""
        if not (self.numeric and _NUMBER.match(text)):
            return text
        if text.lstrip("-").isdecimal():
            return int(text)
        number = float(text)
        return number if math.isfinite(number) else text


@cache
def _declared(query_type: type[msgspec.Struct] | None) -> Mapping[str, _Parameter]:
    if query_type is None:
        return {}
    fields = msgspec.structs.fields(query_type)
    return {field.name: _Parameter.of(inspect.type_info(field.type)) for field in fields}


def decode_query(raw: bytes, query_type: type[msgspec.Struct] | None) -> msgspec.Struct | None:
    """Decode a query string; a tuple's items are comma-separated.

    Raises:
        RequestError: 400 where the string is not well formed.
        InvalidInput: for a parameter that is unknown, given twice, missing or wrong; `TooMany`
            for a list that is longer than is taken.
    """
    declared = _declared(query_type)
    given = _parameters(raw)
    if unknown := [_unknown(name, declared) for name in given if name not in declared]:
        raise InvalidInput(*unknown)
    if query_type is None:
        return None
    values = {name: declared[name].read(text) for name, text in given.items()}
    try:
        return msgspec.convert(values, query_type)
    except msgspec.ValidationError as error:
        raise _said(query_error(str(error), query_type), given) from error


def _said(error: InvalidInput, given: Mapping[str, str]) -> InvalidInput:
    """Repeat what was given: in a query it is always text, whatever it was read as."""
    (violation,) = error.violations
    value = given.get(violation.pointer.removeprefix("?"))
    if value is None or isinstance(error, TooMany):
        return error
    right = violation.detail.partition(", not ")[0].rstrip(".")
    return InvalidInput.at(violation.pointer, f"{right}; {shown(value)} is not.")


def _parameters(raw: bytes) -> dict[str, str]:
    """Split a query string into parameters, each given once."""
    pairs = _pairs(raw)
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = [name for name in given if names.count(name) > 1]
        raise InvalidInput(*(Violation(f"?{n}", "It is given more than once.") for n in repeated))
    return given


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    if _BAD_ESCAPE.search(raw):
        malformed("The query string has an invalid percent-encoding.")
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except UnicodeError:
        malformed("The query string is not percent-encoded UTF-8.")
    except ValueError:
        malformed(f"The query string has more than {MAX_PARAMETERS} parameters.")


def _unknown(name: str, declared: Mapping[str, _Parameter]) -> Violation:
    near = closest(name, declared)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(declared) or "none"
    shown = name[:80]
    return Violation(f"?{shown}", f"There is no parameter {shown!r}.{meant} Known: {known}.")
