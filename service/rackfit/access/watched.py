"""A file that is read again when it changed: secrets are rotated without a restart."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

Read = TypeVar("Read")

LOOKED_AT_SECONDS = 1.0
"""A changed file is noticed within this time; until then no request pays for looking."""

_log = structlog.get_logger(__name__)


class Watched(Generic[Read]):
    """What a file says, as it said it last without fault.

    Args:
        path: the file; a link that is moved (as Kubernetes does with secrets) is a change too.
        read: makes of its content what is wanted.
        clock: seconds that only grow.

    Raises:
        ValueError: naming the file, where it cannot be read at first.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[bytes], Read],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._read = read
        self._clock = clock
        self._looked = clock()
        self._state: tuple[int, ...] = ()
        try:
            self._state = self._seen()
            self._value = read(path.read_bytes())
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be used: {_said(error)}."
            raise ValueError(msg) from error
        self.version = 0

    @property
    def value(self) -> Read:
        """What the file says now; a file at fault leaves what it said before."""
        now = self._clock()
        if now - self._looked >= LOOKED_AT_SECONDS:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            state = self._seen()
            if state == self._state:
                return
            self._value = self._read(self._path.read_bytes())
        except (OSError, ValueError) as error:
            _log.error("file not used", path=str(self._path), reason=_said(error))
        else:
            self._state = state
            self.version += 1
            _log.info("file read again", path=str(self._path))

    def _seen(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


def _said(error: Exception) -> str:
    return (error.strerror or "unreadable") if isinstance(error, OSError) else str(error)
