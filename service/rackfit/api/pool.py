"""The pool of worker processes: bounded, warmed, and rebuilt when a worker dies."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from rackfit import metrics
from rackfit.api import worker
from rackfit.api.answers import ComputeCondition
from rackfit.api.problems import RequestError, unavailable
from rackfit.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

GRACE_SECONDS = 1.0
"""What a computation that was told its deadline gets to come to its end."""

_ATTEMPTS = 2
_log = structlog.get_logger(__name__)


def default_processes(workers: int) -> int:
    """Return how many worker processes each of `workers` serving processes should have."""
    return max(1, len(os.sched_getaffinity(0)) // workers)


class ComputePool:
    """Worker processes for one event loop.

    Processes are started by a fork server, never forked from the serving process: its threads
    and its event loop would not survive that.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes = settings.compute_processes or default_processes(settings.workers)
        self._limit = self._processes + settings.compute_queue
        self._in_progress = 0
        self._idle = asyncio.Semaphore(self._processes)
        self._executor = self._build()

    def _build(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([worker.__name__])
        return ProcessPoolExecutor(
            max_workers=self._processes,
            mp_context=context,
            initializer=worker.initialise,
            initargs=(self._settings,),
        )

    @property
    def condition(self) -> ComputeCondition:
        """What readiness tells about the pool."""
        return ComputeCondition(
            processes=self._processes, in_progress=self._in_progress, limit=self._limit
        )

    async def start(self) -> None:
        """Start every worker and wait until the first can compute."""
        started = [self._executor.submit(worker.warm) for _ in range(self._processes)]
        await asyncio.gather(*map(asyncio.wrap_future, started))

    def close(self) -> None:
        """End the workers; nobody is waiting any more for what they may still compute."""
        if self._in_progress:
            # Public only from Python 3.14 on, as `terminate_workers`.
            for process in list(self._executor._processes.values()):  # noqa: SLF001
                process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def run(
        self,
        seconds: float,
        function: Callable[P, T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Run `function` in a worker for up to `seconds`; it should keep to them itself.

        A worker that dies takes every computation of the pool with it, so each is tried twice.

        Raises:
            RequestError: 503 where the queue is full, the time is up or workers keep dying.
            Exception: whatever `function` raised.
        """
        if self._in_progress >= self._limit:
            raise _refused("full", "Too many computations are waiting already.")
        deadline = time.monotonic() + seconds
        for _ in range(_ATTEMPTS):
            await self._wait_for_worker(deadline)
            executor = self._executor
            try:
                waiting = self._submit(executor, partial(function, *arguments, **named))
                return await self._wait_for(waiting, deadline + GRACE_SECONDS)
            except BrokenProcessPool:
                self._rebuild(executor)
        raise _refused("lost", "The processes that computed this ended unexpectedly.")

    async def _wait_for_worker(self, deadline: float) -> None:
        """Wait here and not in the executor, whose own queue cannot be left again."""
        self._count(1)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._idle.acquire()
        except TimeoutError:
            self._count(-1)
            raise _late() from None
        except asyncio.CancelledError:
            self._count(-1)
            raise

    def _submit(self, executor: ProcessPoolExecutor, call: Callable[[], T]) -> asyncio.Future[T]:
        try:
            waiting = asyncio.wrap_future(executor.submit(call))
        except BrokenProcessPool:
            self._release()
            raise
        waiting.add_done_callback(self._settle)
        return waiting

    async def _wait_for(self, waiting: asyncio.Future[T], deadline: float) -> T:
        """Wait without cancelling: a computation that has begun holds its worker to its end."""
        await asyncio.wait((waiting,), timeout=deadline - time.monotonic())
        if not waiting.done():
            raise _late()
        return waiting.result()

    def _settle(self, waiting: asyncio.Future[T]) -> None:
        self._release()
        if not waiting.cancelled():
            waiting.exception()  # read, so that asyncio does not report one nobody waits for

    def _release(self) -> None:
        self._idle.release()
        self._count(-1)

    def _count(self, change: int) -> None:
        self._in_progress += change
        metrics.COMPUTATIONS_IN_PROGRESS.set(self._in_progress)

    def _rebuild(self, broken: ProcessPoolExecutor) -> None:
        """Replace a pool that lost a worker, once for all who were waiting for it."""
        if self._executor is broken:
            _log.error("pool_rebuilt", reason="a worker process ended unexpectedly")
            broken.shutdown(wait=False, cancel_futures=True)
            self._executor = self._build()


def _late() -> RequestError:
    return _refused("deadline", "The time for this request was up before it was answered.")


def _refused(reason: str, detail: str) -> RequestError:
    metrics.REFUSED.labels(reason).inc()
    return unavailable(detail)
