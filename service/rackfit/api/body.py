"""A request's body: of a type that is understood, within its limit, in time, with room for it."""

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from litestar import Request

from rackfit.api.closing import Closing
from rackfit.api.decoding import malformed
from rackfit.api.exchange import ClientGone, arrived, unreadable
from rackfit.api.headers import first, values
from rackfit.api.operation import Operation
from rackfit.api.problems import RequestError, refused
from rackfit.api.room import Held


async def read_body(
    request: Request[Any, Any, Any],
    media_types: Sequence[str],
    *,
    limit_bytes: int,
    timeout_seconds: float,
    closing: Closing,
    held: Held,
) -> bytes:
    """Read the whole body.

    Raises:
        RequestError: 400 where there is none or it is badly framed, 408 where it takes longer
            than `timeout_seconds`, 413 above `limit_bytes`, 415 where it is none of
            `media_types` or compressed, 503 where there is no room for it.
        ClientGone: the caller hung up.
    """
    declared = _declared(first(request.scope, b"content-length"))
    if declared > limit_bytes:
        raise _too_large(limit_bytes)
    _check_type(request, media_types)
    held.grow(declared)
    if arrived(request.scope) is not None:
        body = await _receive(request, limit_bytes, held)  # takes no time
    else:
        try:
            async with closing.timeout(closing.deadline(timeout_seconds)):
                body = await _receive(request, limit_bytes, held)
        except TimeoutError:
            raise _late(timeout_seconds, closing) from None
    return body or malformed("The body is missing.")


def _declared(length: str | None) -> int:
    """Return the length that is declared: enough to refuse by, before a byte is read."""
    return int(length) if length is not None and length.isdecimal() else 0


def _late(timeout_seconds: float, closing: Closing) -> RequestError:
    if closing.has_begun:
        return refused("closing", "The service ends before this body has arrived.")
    return RequestError.of(
        HTTPStatus.REQUEST_TIMEOUT,
        f"The body did not arrive within {timeout_seconds:g} seconds.",
        headers={"Connection": "close"},
    )


def _check_type(request: Request[Any, Any, Any], media_types: Sequence[str]) -> None:
    scope = request.scope
    if not values(scope, b"content-length") and not values(scope, b"transfer-encoding"):
        malformed("The body is missing.")
    if (first(scope, b"content-encoding") or "identity").strip().lower() != "identity":
        raise RequestError.of(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Compressed bodies are not taken.",
            headers={"Accept-Encoding": "identity"},
        )
    if not _understood(first(scope, b"content-type") or "", tuple(media_types)):
        raise _unsupported(media_types)


def takes(operation: Operation, content_type: str) -> bool:
    """Tell whether an operation takes bodies of a content type."""
    return _understood(content_type, operation.body_media_types)


@lru_cache(maxsize=256)
def _understood(content_type: str, media_types: tuple[str, ...]) -> bool:
    given, *parameters = content_type.split(";")
    charset = next((p.partition("=")[2] for p in parameters if "charset" in p.lower()), "utf-8")
    known = given.strip().lower() in media_types
    return known and charset.strip(' "').lower() in {"utf-8", "utf8", "us-ascii"}


def _unsupported(media_types: Sequence[str]) -> RequestError:
    """Say which media types are taken, in the headers RFC 9110 (15.5.16) has for it too."""
    return RequestError.of(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"The body must be {' or '.join(media_types)} in UTF-8, and Content-Type must say so.",
        headers={"Accept": ", ".join(media_types)},
    )


async def _receive(request: Request[Any, Any, Any], limit_bytes: int, held: Held) -> bytes:
    """Read the stream, counting: a chunked body declares no length, and a length may lie."""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        held.grow(size)
        chunks.append(chunk)
        more = message.get("more_body", False)
    _check_framing(request)
    return b"".join(chunks)


def _check_framing(request: Request[Any, Any, Any]) -> None:
    """Refuse a body whose chunks the server could not tell apart; it ended the body there."""
    refusal = unreadable(request.scope)
    if refusal is not None:
        raise RequestError.of(HTTPStatus(refusal.status), refusal.detail)


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError.of(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit_bytes:,} bytes."
    )
