"""A circuit breaker: stop asking a server that does not answer, and notice when it does again.

closed -> open        after a run of failures, or once failures have cost a time budget
open -> half open     after a cool-down, for one probe
half open -> closed   when the probe succeeds
half open -> open     when it fails, for a longer cool-down

Work started in one state must not decide about a later one, so every admission hands out a
ticket, and a verdict with an old ticket is ignored.
"""

import enum
import random
import time
from collections.abc import Callable

import msgspec
import structlog

from rackfit import metrics

_log = structlog.get_logger(__name__)


class CircuitState(enum.IntEnum):
    """The states, by the value the metric shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class CircuitLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When the circuit opens and for how long.

    It opens after `max_failures` in a row, or when a row of failures has cost
    `max_lost_seconds`. The cool-down starts at `cool_down_seconds` and doubles with every probe
    that fails, up to `max_cool_down_seconds`; each is drawn from its upper half.
    """

    max_failures: int = 5
    max_lost_seconds: float
    cool_down_seconds: float
    max_cool_down_seconds: float = 15.0


class Circuit:
    """The breaker in front of one server, for one event loop.

    Args:
        limits: When to open and for how long.
        clock: Monotonic seconds.
        jitter: A draw from [0, 1), so that replicas do not probe in step.
    """

    def __init__(
        self,
        limits: CircuitLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._jitter = jitter
        self._state = CircuitState.CLOSED
        self._ticket = 0
        self._failures = 0
        self._lost_seconds = 0.0
        self._failed_probes = 0
        self._probe_at = 0.0
        metrics.REDIS_CIRCUIT.set(self._state)

    @property
    def state(self) -> CircuitState:
        """The state now; open stays open until a probe is taken."""
        return self._state

    def admit(self) -> int | None:
        """Return a ticket for one piece of work, or None unless the circuit is closed."""
        return self._ticket if self._state is CircuitState.CLOSED else None

    def probe(self) -> int | None:
        """Return the ticket for the one probe, or None when none is due."""
        if self._state is not CircuitState.OPEN or self._clock() < self._probe_at:
            return None
        self._move(CircuitState.HALF_OPEN)
        return self._ticket

    def holds(self, ticket: int) -> bool:
        """Tell whether the circuit is still in the state that handed out `ticket`."""
        return ticket == self._ticket

    def succeeded(self, ticket: int) -> None:
        """Take note that the work under `ticket` was answered."""
        if not self.holds(ticket):
            return
        self._failures = 0
        self._lost_seconds = 0.0
        self._failed_probes = 0
        if self._state is CircuitState.HALF_OPEN:
            self._move(CircuitState.CLOSED)
            _log.info("redis_circuit_closed")

    def failed(self, ticket: int, lost_seconds: float, reason: str) -> None:
        """Take note that the work under `ticket` failed, why, and the time that cost."""
        if not self.holds(ticket):
            return
        self._failures += 1
        self._lost_seconds += lost_seconds
        if self._state is CircuitState.HALF_OPEN:
            self._failed_probes += 1
            self._open()
        elif (
            self._failures >= self._limits.max_failures
            or self._lost_seconds >= self._limits.max_lost_seconds
        ):
            self._open()
            _log.warning("redis_circuit_opened", reason=reason, failures=self._failures)

    def _open(self) -> None:
        # The exponent is capped too: 2.0**1024 overflows after a few hours of failed probes.
        doubled = self._limits.cool_down_seconds * 2.0 ** min(self._failed_probes, 32)
        longest = min(doubled, self._limits.max_cool_down_seconds)
        self._probe_at = self._clock() + longest * (0.5 + 0.5 * self._jitter())
        self._move(CircuitState.OPEN)

    def _move(self, state: CircuitState) -> None:
        self._state = state
        self._ticket += 1
        metrics.REDIS_CIRCUIT.set(state)
