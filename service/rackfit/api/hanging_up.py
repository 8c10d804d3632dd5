"""Callers that hang up: what is done for them alone is not worth finishing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

from rackfit.api.exchange import ClientGone

T = TypeVar("T")
Gone = Callable[[], Coroutine[Any, Any, object]]
"""Returns when the caller has hung up."""


def gone(receive: Receive) -> Gone:
    """Return what waits for the end of a request's connection."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # what is left of a body nobody asked for

    return disconnected


async def unless(hung_up: Gone, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` as long as the caller is there; it is cancelled once nobody is.

    Raises:
        ClientGone: the caller hung up.
        Exception: whatever `work` raised.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(hung_up())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        _drop(working)
        _drop(watching)
        del working  # an error it holds would hold this frame, and that the request's body


def _drop(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    task.add_done_callback(_read)


def _read(task: "asyncio.Future[Any]") -> None:
    """Read what a task ended with, so that asyncio does not report an error nobody waits for."""
    if not task.cancelled():
        task.exception()
