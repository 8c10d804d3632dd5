"""What runs in a worker process of the pool: functions of plain values, and one catalog.

Only bytes and small structs cross the process boundary, and a deadline the other way while a
computation runs: the serving process brings it forward when nobody waits any more.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, MutableSequence
from functools import cache
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from rackfit.api.answers import Ready
from rackfit.api.computing import Canonical, Computed, Job, canonicalise, compute
from rackfit.api.operation import Context
from rackfit.api.operations import BY_ID, OPERATIONS
from rackfit.api.problems import RequestError
from rackfit.catalog import load_catalog
from rackfit.settings import Settings
from rackfit.silicon import tables_for

T = TypeVar("T")

Deadlines = MutableSequence[float]
"""Moments of `time.monotonic`, one a slot, in memory that workers and serving process share."""

NICENESS = 19
"""Computations give way to the processes that answer from the cache."""

_never: Callable[[], bool] = lambda: False  # noqa: E731 - a value, replaced for each computation


class _Current:
    """The computation under way: a worker has one at a time."""

    deadlines: Deadlines = ()  # type: ignore[assignment] # set before the first computation
    expired: Callable[[], bool] = staticmethod(_never)


def initialise(settings: Settings, deadlines: Deadlines) -> None:
    """Prepare a worker: everything that the first computation should not have to wait for."""
    _Current.deadlines = deadlines
    # Ctrl-C reaches the whole group; the serving process ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _context(settings)


def _end_with_parent() -> None:
    """End when the serving process is gone, however it went: the pool's pipes outlive it."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@cache
def _context(settings: Settings) -> Context:
    catalog = load_catalog(settings.catalog_dir)
    return Context(
        settings=settings,
        catalog=catalog,
        tables=tables_for(catalog),
        expired=lambda: False,
        operations=OPERATIONS,
        condition=_no_condition,
    )


def _no_condition() -> Ready:
    msg = "only a serving process has a condition to report"
    raise RuntimeError(msg)


def warm() -> int:
    """Do nothing in a worker that is ready; returns its process id."""
    return os.getpid()


def run_in_slot(slot: int, call: Callable[[], T]) -> T:
    """Make a call whose deadline stands in a slot, where it may still be brought forward."""
    deadlines = _Current.deadlines
    _Current.expired = lambda: time.monotonic() >= deadlines[slot]
    try:
        return call()
    except RequestError as error:
        # The executor keeps the latest error until the next: without what led to it, whose
        # frames hold the request's body and all that was made of it.
        error.__cause__ = error.__context__ = None
        raise error.with_traceback(None) from None


def is_expired() -> bool:
    """Tell whether the time of the computation under way is up."""
    return _Current.expired()


def canonicalise_job(operation_id: str, query: bytes, body: bytes) -> Canonical:
    """See `canonicalise`."""
    return canonicalise(BY_ID[operation_id], query, body)


def compute_job(settings: Settings, job: Job) -> Computed:
    """See `compute`."""
    return compute(_context(settings), BY_ID[job.operation_id], job, is_expired)
