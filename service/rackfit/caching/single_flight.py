"""Concurrent equal requests compute once in a process.

The first caller for a key starts the computation as a task of its own; the others wait for the
same task. A caller that goes away takes only itself: the task is cancelled when nobody is left
waiting. Results and errors reach everyone who waits and are not kept afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Flight(Generic[T]):
    """One computation under way and the number of callers waiting for it."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


class SingleFlight(Generic[K, T]):
    """Computations under way by key, for one event loop."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}
        # The loop holds tasks weakly, and one that is cleaning up after its cancellation is no
        # longer in `_flights`.
        self._tasks: set[asyncio.Task[T]] = set()

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, compute: Callable[[], Awaitable[T]]) -> T:
        """Return what `compute` gives, sharing one computation among concurrent equal keys.

        Store the result inside `compute`, so that it is stored once.

        Raises:
            Exception: Whatever `compute` raised, the same for everyone who waited.
        """
        flight = self._flights.get(key) or self._start(key, compute)
        flight.waiting += 1
        try:
            # Unlike awaiting the task, waiting for it does not cancel it with the caller.
            await asyncio.wait((flight.task,))
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()
        try:
            return flight.task.result()
        finally:
            del flight  # an error it holds would hold this frame, and that all it leads to

    def _start(self, key: K, compute: Callable[[], Awaitable[T]]) -> _Flight[T]:
        async def computation() -> T:
            return await compute()

        flight = _Flight(asyncio.create_task(computation()))
        self._flights[key] = flight
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda _: self._settle(key, flight))
        return flight

    def _settle(self, key: K, flight: _Flight[T]) -> None:
        self._forget(key, flight)
        self._tasks.discard(flight.task)
        # An error that nobody waited for is nobody's: reading it keeps asyncio from reporting it.
        if not flight.task.cancelled():
            flight.task.exception()

    def _forget(self, key: K, flight: _Flight[T]) -> None:
        # A later flight may have taken the key over while this one was being cancelled.
        if self._flights.get(key) is flight:
            del self._flights[key]
