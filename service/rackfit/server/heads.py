"""What a request's head must be for the request to be taken up: of bounded size, unambiguous."""

from collections.abc import Iterable

from rackfit.wire import Refusal

MAX_HEAD_BYTES = 32 << 10
"""A request's first line and headers; proxies commonly stop at 8 to 16 KiB."""
MAX_TARGET_BYTES = 16 << 10
VERSIONS = ("1.1", "1.0")

BAD_REQUEST = 400
URI_TOO_LONG = 414
HEADERS_TOO_LARGE = 431
NOT_IMPLEMENTED = 501

Headers = Iterable[tuple[bytes, bytes]]


def too_large(target: bytes) -> Refusal:
    """Refuse a head of which too much has come; its target was so far."""
    if len(target) > MAX_TARGET_BYTES:
        detail = f"The path and query are longer than {MAX_TARGET_BYTES:,} bytes."
        return Refusal(URI_TOO_LONG, detail)
    detail = f"The request's head is larger than {MAX_HEAD_BYTES:,} bytes."
    return Refusal(HEADERS_TOO_LARGE, detail)


def unfit(version: str, target: bytes, headers: Headers, size: int) -> Refusal | None:
    """Return why a head of `size` bytes is not taken; None where it is.

    Headers' names are in lower case.
    """
    if len(target) > MAX_TARGET_BYTES or size > MAX_HEAD_BYTES:
        return too_large(target)
    if any(n == b"transfer-encoding" and v.lower() != b"chunked" for n, v in headers):
        detail = "Of the transfer codings only `chunked` is taken, alone."
        return Refusal(NOT_IMPLEMENTED, detail)
    if version not in VERSIONS:
        return Refusal(BAD_REQUEST, "This is neither HTTP/1.1 nor HTTP/1.0.")
    if not _has_sound_host(version, headers):
        return Refusal(BAD_REQUEST, "A request of HTTP/1.1 has one Host header, and only one.")
    return None


def _has_sound_host(version: str, headers: Headers) -> bool:
    """Whether there are as many Host headers as RFC 9112 (3.2) has it."""
    hosts = sum(name == b"host" for name, _ in headers)
    return hosts == 1 or (not hosts and version == "1.0")


def has_body(headers: Headers) -> bool:
    """Tell whether a body follows."""
    lengths = [v for n, v in headers if n in (b"content-length", b"transfer-encoding")]
    return any(value != b"0" for value in lengths)
