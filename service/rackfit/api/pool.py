"""The pool of worker processes: bounded, warmed, and rebuilt when a worker dies."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import structlog

from rackfit import metrics
from rackfit.api import worker
from rackfit.api.answers import ComputeCondition
from rackfit.api.closing import Closing
from rackfit.api.problems import RequestError, refused
from rackfit.api.room import Held
from rackfit.settings import Settings
from rackfit.silicon.package import VERSION

T = TypeVar("T")

GRACE_SECONDS = 1.0 if VERSION is None else 4.0
"""What a computation that was told its deadline gets to come to its end.

Tables of measured kernels, where they are installed, take up to three seconds to load, and loading
them cannot be stopped.
"""

_ATTEMPTS = 2
_log = structlog.get_logger(__name__)


def default_processes(workers: int) -> int:
    """Return how many worker processes each of `workers` serving processes should have."""
    return max(1, len(os.sched_getaffinity(0)) // workers)


class _Workers:
    """An executor and the deadlines its workers look at, one slot for each of them."""

    def __init__(self, settings: Settings, processes: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([worker.__name__])
        self.deadlines: worker.Deadlines = context.RawArray("d", processes)
        self.free = list(range(processes))
        self.executor = ProcessPoolExecutor(
            max_workers=processes,
            mp_context=context,
            initializer=worker.initialise,
            initargs=(settings, self.deadlines),
        )

    def bring_forward(self, deadline: float) -> None:
        """Let no computation take longer than until `deadline`."""
        for slot, earlier in enumerate(self.deadlines):
            self.deadlines[slot] = min(earlier, deadline)


class ComputePool:
    """Worker processes for one event loop.

    Processes are started by a fork server, never forked from the serving process: its threads
    and its event loop would not survive that.
    """

    def __init__(self, settings: Settings, closing: Closing) -> None:
        self._settings = settings
        self._closing = closing
        self._processes = settings.compute_processes or default_processes(settings.workers)
        self._limit = self._processes + settings.compute_queue
        self._in_progress = 0
        self._idle = asyncio.Semaphore(self._processes)
        self._workers = _Workers(settings, self._processes)
        closing.on_begin.append(self._hurry)

    @property
    def condition(self) -> ComputeCondition:
        """What readiness tells about the pool."""
        return ComputeCondition(
            processes=self._processes, in_progress=self._in_progress, limit=self._limit
        )

    @property
    def is_full(self) -> bool:
        """Whether one more computation would be refused."""
        return self._in_progress >= self._limit

    async def start(self) -> None:
        """Start every worker and wait until the first can compute."""
        executor = self._workers.executor
        started = [executor.submit(worker.warm) for _ in range(self._processes)]
        await asyncio.gather(*map(asyncio.wrap_future, started))

    def close(self) -> None:
        """End the workers; nobody is waiting any more for what they may still compute."""
        executor = self._workers.executor
        if self._in_progress:
            # Public only from Python 3.14 on, as `terminate_workers`.
            for process in list(executor._processes.values()):  # noqa: SLF001
                process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)

    def _hurry(self, ends: float) -> None:
        """Bring all that is under way to its end by a moment of `time.monotonic`."""
        self._workers.bring_forward(ends)

    async def run(
        self,
        seconds: float,
        call: Callable[[], T],
        held: Held | None = None,
        *,
        is_let_in: bool = False,
    ) -> T:
        """Make a call in a worker for up to `seconds`; it should keep to them itself.

        What is `held` for it is held until the worker is done, also where that comes too late.
        What `is_let_in` goes on with a call before it, for which there was room: to refuse it now
        would waste that, and let in another to fare no better.

        A worker that dies takes every computation of the pool with it, so each is tried twice.
        A caller that is cancelled leaves the queue, or tells its computation that time is up.

        Raises:
            RequestError: 503 where the queue is full, the time is up or workers keep dying.
            Exception: whatever `call` raised.
        """
        if self.is_full and not is_let_in:
            raise full()
        deadline = self._closing.deadline(seconds)
        for _ in range(_ATTEMPTS):
            await self._wait_for_worker(deadline)
            workers = self._workers
            try:
                return await self._run_in(workers, call, deadline, held)
            except BrokenProcessPool:
                self._rebuild(workers)
        raise refused("lost", "The processes that computed this ended unexpectedly.")

    async def _wait_for_worker(self, deadline: float) -> None:
        """Wait here and not in the executor, whose own queue cannot be left again."""
        self._count(1)
        try:
            async with self._closing.timeout(deadline):
                await self._idle.acquire()
        except TimeoutError:
            self._count(-1)
            raise _late() from None
        except asyncio.CancelledError:
            self._count(-1)
            raise

    async def _run_in(
        self, workers: _Workers, call: Callable[[], T], deadline: float, held: Held | None
    ) -> T:
        slot = workers.free.pop()
        workers.deadlines[slot] = deadline
        try:
            waiting = self._submit(workers, slot, call)
        except BrokenProcessPool:
            self._release(workers, slot)
            raise
        if held is not None:
            held.keep()
            waiting.add_done_callback(lambda _: held.let_go())
        try:
            return await self._wait_for(waiting, deadline)
        except asyncio.CancelledError:
            workers.deadlines[slot] = 0.0
            raise
        finally:
            del waiting

    def _submit(self, workers: _Workers, slot: int, call: Callable[[], T]) -> asyncio.Future[T]:
        submitted = workers.executor.submit(worker.run_in_slot, slot, call)
        waiting: asyncio.Future[T] = asyncio.wrap_future(submitted)
        waiting.add_done_callback(lambda _: self._settle(waiting, workers, slot))
        return waiting

    async def _wait_for(self, waiting: asyncio.Future[T], deadline: float) -> T:
        """Wait without cancelling: a computation that has begun holds its worker to its end."""
        try:
            async with self._closing.timeout(deadline):
                await asyncio.wait((waiting,))
        except TimeoutError:
            await asyncio.wait((waiting,), timeout=GRACE_SECONDS)
        try:
            if not waiting.done():
                raise _late()
            return waiting.result()
        finally:
            del waiting  # an error it holds would hold this frame, and that the request's body

    def _settle(self, waiting: asyncio.Future[T], workers: _Workers, slot: int) -> None:
        self._release(workers, slot)
        if not waiting.cancelled():
            waiting.exception()  # read, so that asyncio does not report one nobody waits for

    def _release(self, workers: _Workers, slot: int) -> None:
        workers.free.append(slot)
        self._idle.release()
        self._count(-1)

    def _count(self, change: int) -> None:
        self._in_progress += change
        metrics.COMPUTATIONS_IN_PROGRESS.set(self._in_progress)

    def _rebuild(self, broken: _Workers) -> None:
        """Replace a pool that lost a worker, once for all who were waiting for it."""
        if self._workers is broken:
            _log.error("pool_rebuilt", reason="a worker process ended unexpectedly")
            broken.executor.shutdown(wait=False, cancel_futures=True)
            self._workers = _Workers(self._settings, self._processes)


def full() -> RequestError:
    """Refuse a computation that would have to wait behind too many others."""
    return refused("full", "Too many computations are waiting already.")


def _late() -> RequestError:
    return refused("deadline", "The time for this request was up before it was answered.")
