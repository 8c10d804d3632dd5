"""The end of a serving process: from the signal on, everything under way has less time."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable


class Closing:
    """Whether this process is going away, and until when what is under way may take.

    `on_begin` are called with the moment (of `time.monotonic`) by which all must be done.
    """

    def __init__(self) -> None:
        self.on_begin: list[Callable[[float], None]] = []
        self._ends = math.inf
        self._timeouts: set[asyncio.Timeout] = set()

    @property
    def has_begun(self) -> bool:
        """Whether the process was told to end."""
        return self._ends < math.inf

    def begin(self, seconds: float) -> None:
        """Let everything under way take `seconds` more and not longer."""
        self._ends = time.monotonic() + seconds
        latest = asyncio.get_running_loop().time() + seconds
        for timeout in self._timeouts:
            timeout.reschedule(min(timeout.when() or latest, latest))
        for told in self.on_begin:
            told(self._ends)

    def deadline(self, seconds: float) -> float:
        """Return the moment (of `time.monotonic`) `seconds` from now, or the end if earlier."""
        return min(time.monotonic() + seconds, self._ends)

    @contextlib.asynccontextmanager
    async def timeout(self, deadline: float) -> AsyncIterator[None]:
        """Allow a block until `deadline` (of `time.monotonic`), or the end if that comes first.

        Raises:
            TimeoutError: the block took longer.
        """
        seconds = min(deadline, self._ends) - time.monotonic()
        async with asyncio.timeout(seconds) as timeout:
            self._timeouts.add(timeout)
            try:
                yield
            finally:
                self._timeouts.discard(timeout)
