"""Callers that hang up: what is done for them alone is not worth finishing."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from litestar.types import Receive

from rackfit.api.exchange import ClientGone

Gone = Callable[[], Coroutine[Any, Any, object]]
"""Returns when the caller has hung up."""

UNWATCHED_SECONDS = 0.05
"""What takes no longer than this is finished, whoever waits for it."""


def gone(receive: Receive) -> Gone:
    """Return what waits for the end of a request's connection."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # what is left of a body nobody asked for

    return disconnected


class Unless:
    """A block that goes on as long as the caller is there, like one under `asyncio.timeout`.

    Once nobody is, the block is cancelled.

    Raises:
        ClientGone: the caller hung up.
    """

    def __init__(self, hung_up: Gone) -> None:
        self._hung_up = hung_up
        self._watcher: asyncio.Task[object] | None = None
        self._is_gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - there is one wherever something is awaited
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = task.get_loop().call_later(UNWATCHED_SECONDS, self._watch)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._is_gone:
            others = self._task.uncancel() > self._cancelling
            if kind is asyncio.CancelledError and not others:
                raise ClientGone from error

    def _watch(self) -> None:
        self._watcher = self._task.get_loop().create_task(self._hung_up())
        self._watcher.add_done_callback(self._on_end)

    def _on_end(self, watcher: "asyncio.Task[object]") -> None:
        if not watcher.cancelled() and watcher.exception() is None:
            self._is_gone = True
            self._task.cancel()
