"""A request's body: of a type that is understood, within its limit, in time."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from litestar import Request

from rackfit.api.decoding import malformed
from rackfit.api.problems import RequestError


async def read_body(
    request: Request[Any, Any, Any],
    media_types: Sequence[str],
    *,
    limit_bytes: int,
    timeout_seconds: float,
) -> bytes:
    """Read the whole body.

    Raises:
        RequestError: 400 where there is none, 408 where it takes longer than
            `timeout_seconds`, 413 above `limit_bytes`, 415 where it is none of `media_types`
            or compressed.
    """
    _check_length(request.headers.get("content-length"), limit_bytes)
    _check_type(request, media_types)
    try:
        async with asyncio.timeout(timeout_seconds):
            body = await _receive(request, limit_bytes)
    except TimeoutError:
        raise RequestError.of(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The body did not arrive within {timeout_seconds:g} seconds.",
            headers={"Connection": "close"},
        ) from None
    return body or malformed("The body is missing.")


def _check_length(declared: str | None, limit_bytes: int) -> None:
    """Refuse by what is declared, before a byte of the body is read."""
    if declared is not None and declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)


def _check_type(request: Request[Any, Any, Any], media_types: Sequence[str]) -> None:
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        malformed("The body is missing.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RequestError.of(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Compressed bodies are not taken.",
            headers={"Accept-Encoding": "identity"},
        )
    given, *parameters = request.headers.get("content-type", "").split(";")
    charset = next((p.partition("=")[2] for p in parameters if "charset" in p.lower()), "utf-8")
    known = given.strip().lower() in media_types
    if not known or charset.strip(' "').lower() not in ("utf-8", "utf8", "us-ascii"):
        raise _unsupported(media_types)


def _unsupported(media_types: Sequence[str]) -> RequestError:
    """Say which media types are taken, in the headers RFC 9110 (15.5.16) has for it too."""
    return RequestError.of(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"The body must be {' or '.join(media_types)} in UTF-8, and Content-Type must say so.",
        headers={"Accept": ", ".join(media_types)},
    )


async def _receive(request: Request[Any, Any, Any], limit_bytes: int) -> bytes:
    """Read the stream, counting: a chunked body declares no length, and a length may lie."""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            malformed("The connection ended before the body did.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError.of(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit_bytes:,} bytes."
    )
