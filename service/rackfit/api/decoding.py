"""From bytes to structs: JSON bodies, strictly, with a pointer to what is wrong."""

import re
from functools import cache
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

import msgspec

from rackfit.api.problems import RequestError
from rackfit.api.violations import body_error
from rackfit.errors import InvalidInput

S = TypeVar("S", bound=msgspec.Struct)

MAX_DEPTH = 64
_SYNTAX = msgspec.json.Decoder(msgspec.Raw)  # reads to the end, and makes nothing of it
MAX_PARTS = 2_000_000
"""Lists and objects of one body; a cluster of 64 MiB, as kubectl prints it, has half a million."""
MAX_INTEGER = 1 << 63
_PLACE = re.compile(r"\(byte (\d+)\)")
_NOT_FINITE = re.compile(rb"Infinity|NaN")
_KEY_BEFORE = re.compile(rb'"([^"\\]{1,80})"\s*:[\s\[\d.,eE+-]*\Z')
KEY_BYTES = 400
"""How far before a number its field's name is looked for."""

_FRACTION = re.compile(r"Expected `[^`]*\bint\b[^`]*`, got `float`")


@cache
def _decoder(body_type: type[S]) -> msgspec.json.Decoder[S]:
    return msgspec.json.Decoder(body_type, strict=True)


def decode_body(raw: bytes | msgspec.Raw, body_type: type[S]) -> S:
    """Decode a JSON body.

    A number without a fraction is an integer however it is spelled (`12.0`, `1e3`), as JSON
    Schema has it; a numeric string is not a number.

    Raises:
        RequestError: 400 where `raw` is no JSON at all.
        InvalidInput: with a JSON Pointer, where it is not a `body_type`; `TooMany` where a list
            is longer than is taken.
    """
    try:
        return _decode(raw, body_type)
    except RecursionError:
        malformed("The JSON is nested too deeply.")
    except UnicodeDecodeError:
        malformed("The body is not valid UTF-8.")
    except msgspec.ValidationError as error:
        raise body_error(str(error), body_type) from error
    except msgspec.DecodeError as error:
        detail = _not_finite(bytes(raw), str(error)) or f"The body is not valid JSON: {error}."
        malformed(detail)


def _not_finite(raw: bytes, error: str) -> str | None:
    """Say what Python's json writes and JSON has not, where that is what cannot be read."""
    place = _PLACE.search(error)
    found = place and _NOT_FINITE.match(raw, int(place[1]))
    if not found:
        return None
    at = found.start()
    token = raw[at - raw.startswith(b"-", at - 1) : found.end()].decode()
    key = _KEY_BEFORE.search(raw[max(at - KEY_BYTES, 0) : at])
    where = f" in `{key[1].decode(errors='replace')}`" if key else ""
    return (
        f"The body is not valid JSON: it has {token}{where} (byte {at}), and JSON has no Infinity "
        "and no NaN. Give a number instead, or leave the field out."
    )


def _decode(raw: bytes | msgspec.Raw, body_type: type[S]) -> S:
    try:
        decoded: S = _decoder(body_type).decode(raw)
    except msgspec.ValidationError as error:
        # Only now, and only for that: most bodies spell their integers without a fraction, and
        # without a type a large body takes many times its size.
        if not _FRACTION.match(str(error)):
            _SYNTAX.decode(raw)  # what is no JSON further on is no JSON
            raise
        decoded = msgspec.convert(_respelled(raw, error), body_type)
    return decoded


def _respelled(raw: bytes | msgspec.Raw, error: msgspec.ValidationError) -> object:
    """Decode without a type and respell the numbers; `error` where a number fits none."""
    try:
        return _whole_numbers(msgspec.json.decode(raw))
    except msgspec.ValidationError:
        raise error from None


def check_parts(raw: bytes) -> None:
    """Refuse JSON of more lists and objects than any real: decoded they take many times its size.

    Raises:
        RequestError: 413.
    """
    # Brackets inside strings count as well; real bodies are far from the limit.
    if len(raw) > MAX_PARTS and raw.count(b"[") + raw.count(b"{") > MAX_PARTS:
        detail = f"The body has more than {MAX_PARTS:,} lists and objects."
        raise RequestError.of(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def malformed(detail: str) -> NoReturn:
    """Refuse a request that cannot be read at all."""
    raise RequestError.of(HTTPStatus.BAD_REQUEST, detail) from None


def _whole_numbers(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Spell every float without a fraction as the integer it is, in place."""
    match value:
        case float() if value.is_integer() and abs(value) < MAX_INTEGER:
            return int(value)
        case list():
            for at, item in enumerate(value):
                value[at] = _whole_numbers(item)
        case dict():
            for key, item in value.items():
                value[key] = _whole_numbers(item)
    return value


def check_free_form(value: object, pointer: str) -> None:
    """Refuse free JSON (a published config) that is deeper or has larger numbers than any real.

    Raises:
        InvalidInput: at `pointer`.
    """
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for held in level for item in _items(held)]
        if not level:
            return
        if any(isinstance(item, int) and abs(item) >= MAX_INTEGER for item in level):
            raise InvalidInput.at(pointer, "It holds an integer that does not fit 64 bits.")
    raise InvalidInput.at(pointer, f"It is nested more than {MAX_DEPTH} levels deep.")


def _items(value: object) -> list[object]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
