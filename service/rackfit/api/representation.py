"""From an answer to the bytes and media type it goes out in."""

from typing import Any

import msgspec

from rackfit.api.operation import JSON, MESSAGE_PACK, Document, Operation
from rackfit.api.text.screen import printable

TEXT_UTF_8 = "text/plain; charset=utf-8"
_MAX_PACKED = (1 << 64) - 1
_MIN_PACKED = -(1 << 63)


def represent(operation: Operation, answer: object, media_type: str) -> tuple[bytes, str]:
    """Encode `answer` as the negotiated `media_type`.

    Returns:
        The content and its Content-Type.
    """
    if isinstance(answer, Document):
        return answer.content, answer.media_type
    if media_type == JSON:
        return msgspec.json.encode(answer), JSON
    if media_type == MESSAGE_PACK:
        return _message_pack(answer), MESSAGE_PACK
    return encode_text(operation.text(answer)), TEXT_UTF_8


def encode_text(text: str) -> bytes:
    """Encode text for a terminal; characters that would steer it are spelled out."""
    return "\n".join(map(printable, text.split("\n"))).encode()


def _message_pack(answer: object) -> bytes:
    try:
        return msgspec.msgpack.encode(answer)
    except OverflowError:
        return msgspec.msgpack.encode(_packable(msgspec.to_builtins(answer)))


def _packable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Spell integers MessagePack has no room for as floats."""
    match value:
        case int() if not _MIN_PACKED <= value <= _MAX_PACKED:
            return float(value)
        case list() | tuple():
            return [_packable(item) for item in value]
        case dict():
            return {key: _packable(item) for key, item in value.items()}
        case _:
            return value
