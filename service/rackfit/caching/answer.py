"""A cached answer, and the frame it travels in when it is shared through Redis.

A frame is checked before anything in it is believed: magic, format version, lengths and a digest
over the key, the media type and the body. Whatever else lies under our key (cut short, written by
another program or another release, moved from another key) is not an answer. Nothing read back
is ever unpickled or evaluated.

    "RKFT" | version u8 | media type's length u8 | body's length u32 | seal | media type | body

Integers are little-endian; the seal is 32 bytes.
"""

import hashlib
import hmac
import struct
from typing import Self

import msgspec

FORMAT_VERSION = 1

_MAGIC = b"RKFT"
_HEADER = struct.Struct("<4sBBI32s")
_MAX_MEDIA_TYPE_BYTES = 0xFF
_SEAL_BYTES = 32
_ETAG_BYTES = 16


class CachedAnswer(msgspec.Struct, frozen=True):
    """A complete answer as it goes on the wire: `body`, its `media_type` and its strong `etag`."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Self:
        """Make the answer for `body`; equal bytes of one media type have equal entity tags.

        Raises:
            ValueError: The media type is not ASCII or longer than 255 bytes.
        """
        if len(media_type.encode("ascii")) > _MAX_MEDIA_TYPE_BYTES:
            msg = f"a media type is at most {_MAX_MEDIA_TYPE_BYTES} bytes long"
            raise ValueError(msg)
        return cls(body=body, media_type=media_type, etag=_etag(body, media_type))


def packed_bytes(answer: CachedAnswer) -> int:
    """Return how many bytes `pack` makes of `answer`, without making them."""
    return _HEADER.size + len(answer.media_type) + len(answer.body)


def pack(answer: CachedAnswer, *, key: bytes) -> bytes:
    """Frame `answer` for storage under `key`."""
    media_type = answer.media_type.encode("ascii")
    seal = _seal(key, answer.etag)
    header = _HEADER.pack(_MAGIC, FORMAT_VERSION, len(media_type), len(answer.body), seal)
    return b"".join((header, media_type, answer.body))


def unpack(frame: bytes, *, key: bytes) -> CachedAnswer | None:
    """Return the answer framed for `key`, or None for anything that is not exactly that."""
    if len(frame) < _HEADER.size:
        return None
    magic, version, media_type_bytes, body_bytes, seal = _HEADER.unpack_from(frame)
    if (magic, version) != (_MAGIC, FORMAT_VERSION):
        return None
    if len(frame) != _HEADER.size + media_type_bytes + body_bytes:
        return None
    return _verified(frame, _HEADER.size + media_type_bytes, seal, key)


def _verified(frame: bytes, body_at: int, seal: bytes, key: bytes) -> CachedAnswer | None:
    """Read the two texts of a well-formed frame; None unless the seal is theirs."""
    try:
        answer = CachedAnswer.of(frame[body_at:], frame[_HEADER.size : body_at].decode("ascii"))
    except UnicodeDecodeError:
        return None
    return answer if hmac.compare_digest(seal, _seal(key, answer.etag)) else None


def _etag(body: bytes, media_type: str) -> str:
    state = hashlib.blake2b(digest_size=_ETAG_BYTES, person=b"rackfit etag")
    state.update(bytes((len(media_type),)) + media_type.encode("ascii"))
    state.update(body)
    return f'"{state.hexdigest()}"'


def _seal(key: bytes, etag: str) -> bytes:
    """Bind an answer to its key; the entity tag stands for media type and body."""
    state = hashlib.blake2b(digest_size=_SEAL_BYTES, person=b"rackfit seal")
    state.update(etag.encode("ascii") + key)
    return state.digest()
