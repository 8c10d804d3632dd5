"""How often each caller may ask: a token bucket a caller, in memory, of a bounded number."""

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CALLERS = 10_000
"""Callers remembered; beyond it those who asked least lately are forgotten, and start anew."""


class Rates:
    """Token buckets: `burst` requests at once, then `per_second` on average.

    Args:
        per_second: requests a second, above 0.
        burst: requests a caller who has been quiet may make at once.
        clock: seconds that only grow.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Take one request of a caller's; return 0, or the seconds until there will be one."""
        now = self._clock()
        left, seen = self._left.get(caller, (self._burst, now))
        left = min(left + (now - seen) * self._per_second, self._burst)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._left[caller] = (left - 1 if wait == 0.0 else left), now
        self._left.move_to_end(caller)
        if len(self._left) > MAX_CALLERS:
            self._left.popitem(last=False)
        return wait
