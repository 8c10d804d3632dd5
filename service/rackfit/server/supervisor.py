"""Several serving processes on one socket: started, replaced when they die, ended together."""

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from types import FrameType

import structlog

from rackfit.logs import configure_logging
from rackfit.server.serving import END_SIGNALS, serve
from rackfit.settings import Settings

END_SECONDS = 9.0
"""After this long a process that was told to end is killed."""
RESTART_SECONDS = 1.0
"""The pause before a process that died while it started is started again."""

ENDED = 0
FAILED = 1
_spawn = multiprocessing.get_context("spawn")
_log = structlog.get_logger(__name__)


class _Child:
    """One serving process; `has_started` once it has told so."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._has_started = False
        self._told, tell = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=_run, args=(settings, listener, tell))
        self.process.start()
        tell.close()

    @property
    def has_started(self) -> bool:
        """Whether it has begun to serve: what it has said stays readable when it is gone."""
        if not self._has_started and self._told.poll():
            with contextlib.suppress(EOFError):
                self._told.recv()
                self._has_started = True
        return self._has_started

    def join(self, seconds: float) -> None:
        """Wait for its end, and make one when the time is up."""
        self.process.join(max(seconds, 0))
        if self.process.is_alive():
            _log.warning("process_killed", pid=self.process.pid, reason="it did not end in time")
            self.process.kill()
            self.process.join()


def _run(settings: Settings, listener: socket.socket, tell: Connection) -> None:
    """Serve in a process of its own, until told to end or left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor too
    configure_logging(settings)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(settings, listener, on_start=lambda: tell.send(None))


def _end_with_parent() -> None:
    """End when the supervisor is gone, however it went."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Keeps `settings.workers` serving processes running until told to end."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._is_ending = False
        self._have_served = False
        self._woken, self._waker = socket.socketpair()
        self._children: list[_Child] = []

    def run(self) -> int:
        """Serve until told to end, or until a process cannot start; returns the exit status."""
        self._listen_to_signals()
        self._children = [self._start() for _ in range(self._settings.workers)]
        status = ENDED
        while not self._is_ending:
            wait([self._woken, *(child.process.sentinel for child in self._children)])
            if not self._is_ending and not self._replace_the_dead():
                status = FAILED
                break
        self._end(self._children)
        return status

    def _start(self) -> _Child:
        return _Child(self._settings, self._listener)

    def _listen_to_signals(self) -> None:
        for number in END_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_ending = True
        self._waker.send(b"\0")

    def _replace_the_dead(self) -> bool:
        """Replace processes that died; False where it is of no use to go on.

        That is so where none has ever served and one ended by itself: the next would as well.
        """
        for place, child in enumerate(self._children):
            self._have_served = self._have_served or child.has_started
            if child.process.is_alive():
                continue
            died = {"pid": child.process.pid, "exit_status": child.process.exitcode}
            if not child.has_started and not self._may_start(child):
                _log.error("process_did_not_start", **died)
                return False
            _log.error("process_died", **died, reason="unexpected; it is replaced")
            self._children[place] = self._start()
        return True

    def _may_start(self, child: _Child) -> bool:
        """Tell whether there is hope for the next of a process that died before it served."""
        if not self._have_served and (child.process.exitcode or 0) >= 0:
            return False
        self._woken.settimeout(RESTART_SECONDS)  # not as fast as it can, and no longer than asked
        with contextlib.suppress(TimeoutError):
            self._woken.recv(1, socket.MSG_PEEK)
        return True

    def _end(self, children: Iterable[_Child]) -> None:
        """Tell all to end, then wait for each."""
        ends = time.monotonic() + END_SECONDS
        for child in children:
            child.process.terminate()
        for child in children:
            child.join(ends - time.monotonic())
