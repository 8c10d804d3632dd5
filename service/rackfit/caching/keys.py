"""The names answers are kept under: digests of all that an answer depends on.

Two keys per request. `RawKeys`' is taken over the bytes as they came, before anything is parsed;
`answer_key` over the canonical request, so that spelling (white space, key order, `8.0` for `8`)
does not split the cache. Canonicalising costs about what a small plan costs, so it is done once
per spelling: `KeyMemo` remembers which answer key a raw key led to.
"""

import hashlib
import struct
from collections import Counter, OrderedDict
from collections.abc import Sequence

KEY_BYTES = 32
_LENGTH_BYTES = 8
OUTLINE_BYTES = 2048
"""Of each end of a body that its outline takes in."""

# BLAKE2's personalisation (RFC 7693, section 2.5) keeps the two kinds of key apart.
_ANSWER = b"rackfit answer"
_RAW = b"rackfit raw"


def answer_key(
    *,
    method: str,
    path: str,
    query: bytes,
    body: bytes,
    media_type: str,
    variant: str,
    version: str,
    catalog: str,
) -> bytes:
    """Name the answer to a canonical request.

    Args:
        method: The HTTP method.
        path: The decoded path.
        query: The canonical query string.
        body: The normalised body, empty for none.
        media_type: The media type negotiated for the answer.
        variant: A digest of every setting and of every other header that can change the answer.
        version: The service's version.
        catalog: The catalog's digest.

    Returns:
        A BLAKE2b digest of `KEY_BYTES` bytes.
    """
    texts = (method, path, media_type, variant, version, catalog)
    return _digest(_ANSWER, *map(_encoded, texts), query, body)


class RawKeys:
    """Names requests by the bytes they came in, nothing parsed.

    A body of a mebibyte costs about a millisecond; BLAKE2b releases the interpreter lock, so a
    larger one can be hashed in a thread.

    Args:
        variant: A digest of every setting that can change the answer.
        version: The service's version.
        catalog: The catalog's digest.
    """

    def __init__(self, *, variant: str, version: str, catalog: str) -> None:
        self._begun = _hashed(_RAW, *map(_encoded, (variant, version, catalog)))

    def key(
        self, *, method: str, path: bytes, query: bytes, body: bytes, headers: Sequence[bytes]
    ) -> bytes:
        """Name a request.

        Args:
            method: The HTTP method.
            path: The path as it came, percent-encoding and all.
            query: The query string as it came.
            body: The body as it came.
            headers: The values of every header that can change the answer, content type
                included, in an order the caller fixes; empty for one that is absent.

        Returns:
            A BLAKE2b digest of `KEY_BYTES` bytes, never equal to an answer key.
        """
        state = self._begun.copy()
        parts = (_encoded(method), path, query, *headers, body)
        # How many there are and all lengths first: no part can run into the next then either.
        state.update(struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts)))
        state.update(b"".join(parts[:-1]))
        state.update(body)
        return state.digest()


def _encoded(text: str) -> bytes:
    # surrogatepass: a decoded path may hold a lone surrogate, and a key must exist for it too.
    return text.encode("utf-8", "surrogatepass")


def _digest(family: bytes, *parts: bytes) -> bytes:
    return _hashed(family, *parts).digest()


def _hashed(family: bytes, *parts: bytes) -> "hashlib.blake2b":
    """Hash length-prefixed parts, so that no part can run into the next."""
    state = hashlib.blake2b(digest_size=KEY_BYTES, person=family)
    for part in parts:
        state.update(len(part).to_bytes(_LENGTH_BYTES, "little"))
        state.update(part)
    return state


class KeyMemo:
    """Which answer key each raw key led to; the least recently used is forgotten first.

    To make the raw key of a body takes longer than to refuse it. By a body's outline most of those
    that are new are told from what is remembered, and need none.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._keys: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()
        self._outlines: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def may_know(self, body: bytes) -> bool:
        """Tell whether a request with this body may be remembered; if not, it is not."""
        return _outline(body) in self._outlines

    def get(self, raw: bytes) -> bytes | None:
        """Return the answer key `raw` led to, or None where that is not remembered."""
        known = self._keys.get(raw)
        if known is None:
            return None
        self._keys.move_to_end(raw)
        return known[0]

    def put(self, raw: bytes, body: bytes, key: bytes) -> None:
        """Remember that `raw`, which names a request with `body`, leads to `key`."""
        outline = _outline(body)
        if raw not in self._keys:
            self._outlines[outline] += 1
        self._keys[raw] = key, outline
        self._keys.move_to_end(raw)
        if len(self._keys) > self._max_entries:
            _, (_, outline) = self._keys.popitem(last=False)
            self._outlines[outline] -= 1
            if not self._outlines[outline]:
                del self._outlines[outline]


def _outline(body: bytes) -> int:
    """Sum up a body at a cost that does not grow with it; two that differ may have the same."""
    return hash((len(body), body[:OUTLINE_BYTES], body[-OUTLINE_BYTES:]))
