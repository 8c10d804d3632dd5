"""The circuit breaker, on a clock the test turns."""

import pytest
import structlog.testing

from counting import Counted
from rackfit.caching.circuit import Circuit, CircuitLimits, CircuitState

LIMITS = CircuitLimits(
    max_failures=3, max_lost_seconds=1.0, cool_down_seconds=1.0, max_cool_down_seconds=8.0
)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time it was told."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands at zero."""
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    """Return a circuit whose cool-downs are drawn at their longest."""
    return Circuit(LIMITS, clock=clock, jitter=lambda: 1.0)


def admitted(circuit: Circuit) -> int:
    """Return the ticket a closed circuit hands out."""
    ticket = circuit.admit()
    assert ticket is not None
    return ticket


def fail(circuit: Circuit, times: int = 1, lost_seconds: float = 0.0) -> None:
    """Let work fail that many times in a row."""
    for _ in range(times):
        circuit.failed(admitted(circuit), lost_seconds, "timeout")


def open_and_probe(circuit: Circuit, clock: Clock) -> int:
    """Open the circuit, wait out the first cool-down and take the probe."""
    fail(circuit, LIMITS.max_failures)
    clock.now += LIMITS.cool_down_seconds
    return probed(circuit)


def probed(circuit: Circuit) -> int:
    """Return the ticket of a probe that is due."""
    ticket = circuit.probe()
    assert ticket is not None
    return ticket


def test_a_new_circuit_is_closed(circuit: Circuit) -> None:
    """Work is admitted from the start and no probe is due."""
    assert CircuitState.CLOSED == circuit.state
    assert circuit.admit() is not None
    assert circuit.probe() is None


def test_a_run_of_failures_opens_it(circuit: Circuit) -> None:
    """The circuit stays closed until the last failure of the run, then admits nothing."""
    fail(circuit, LIMITS.max_failures - 1)
    assert circuit.admit() is not None

    fail(circuit)
    assert CircuitState.OPEN == circuit.state
    assert circuit.admit() is None


def test_a_success_ends_the_run(circuit: Circuit) -> None:
    """Only failures in a row count, and so does the time they cost."""
    for _ in range(3):
        fail(circuit, LIMITS.max_failures - 1, lost_seconds=0.4)
        circuit.succeeded(admitted(circuit))

    assert CircuitState.CLOSED == circuit.state


def test_one_time_budget_lost_opens_it(circuit: Circuit) -> None:
    """A single failure that cost the whole budget is enough."""
    fail(circuit, lost_seconds=LIMITS.max_lost_seconds)

    assert CircuitState.OPEN == circuit.state


def test_no_probe_before_the_cool_down_is_over(circuit: Circuit, clock: Clock) -> None:
    """An open circuit hands out no probe until its cool-down has passed."""
    fail(circuit, LIMITS.max_failures)
    clock.now += LIMITS.cool_down_seconds * 0.99
    assert circuit.probe() is None

    clock.now += LIMITS.cool_down_seconds * 0.01
    assert circuit.probe() is not None


def test_exactly_one_probe_at_a_time(circuit: Circuit, clock: Clock) -> None:
    """While one probe is under way the circuit is half open and hands out nothing else."""
    open_and_probe(circuit, clock)

    assert CircuitState.HALF_OPEN == circuit.state
    assert circuit.probe() is None
    assert circuit.admit() is None


def test_a_probe_that_succeeds_closes_it(circuit: Circuit, clock: Clock) -> None:
    """After one good probe work is admitted again."""
    circuit.succeeded(open_and_probe(circuit, clock))

    assert CircuitState.CLOSED == circuit.state
    assert circuit.admit() is not None


def test_cool_downs_double_up_to_the_longest(circuit: Circuit, clock: Clock) -> None:
    """Each probe that fails doubles the cool-down, up to the cap."""
    ticket = open_and_probe(circuit, clock)
    waits = []
    for _ in range(5):
        circuit.failed(ticket, 0.0, "timeout")
        opened_at = clock.now
        while (probe := circuit.probe()) is None:
            clock.now += 0.5
        waits.append(clock.now - opened_at)
        ticket = probe

    assert [2.0, 4.0, 8.0, 8.0, 8.0] == waits


def test_cool_downs_start_over_after_recovery(circuit: Circuit, clock: Clock) -> None:
    """A server that came back is given the first cool-down again, not the last one."""
    circuit.failed(open_and_probe(circuit, clock), 0.0, "timeout")
    clock.now += 2 * LIMITS.cool_down_seconds
    circuit.succeeded(probed(circuit))

    assert open_and_probe(circuit, clock) is not None


def test_jitter_draws_from_the_upper_half(clock: Clock) -> None:
    """The shortest draw waits half the cool-down."""
    circuit = Circuit(LIMITS, clock=clock, jitter=lambda: 0.0)
    fail(circuit, LIMITS.max_failures)
    clock.now += LIMITS.cool_down_seconds / 2

    assert circuit.probe() is not None


def test_verdicts_from_an_earlier_state_are_ignored(circuit: Circuit, clock: Clock) -> None:
    """Work admitted before the circuit opened can neither close it nor open it again."""
    stale = admitted(circuit)
    open_and_probe(circuit, clock)
    assert not circuit.holds(stale)

    circuit.succeeded(stale)
    assert CircuitState.HALF_OPEN == circuit.state
    circuit.failed(stale, LIMITS.max_lost_seconds, "timeout")
    assert CircuitState.HALF_OPEN == circuit.state


def test_hours_of_failed_probes_do_not_overflow(circuit: Circuit, clock: Clock) -> None:
    """The cool-down stays at its cap however many probes have failed."""
    ticket = open_and_probe(circuit, clock)
    for _ in range(2_000):
        circuit.failed(ticket, 0.0, "timeout")
        clock.now += LIMITS.max_cool_down_seconds
        ticket = probed(circuit)

    assert CircuitState.HALF_OPEN == circuit.state


def test_the_metric_shows_the_state(circuit: Circuit, clock: Clock, counted: Counted) -> None:
    """The gauge is 0 closed, 2 open, 1 half open."""
    fail(circuit, LIMITS.max_failures)
    assert CircuitState.OPEN == counted("rackfit_redis_circuit_state")
    clock.now += LIMITS.cool_down_seconds
    circuit.probe()
    assert CircuitState.HALF_OPEN == counted("rackfit_redis_circuit_state")


def test_the_log_tells_news_only(circuit: Circuit, clock: Clock) -> None:
    """Opening is logged with its reason and closing too, but not each probe that fails."""
    with structlog.testing.capture_logs() as logged:
        circuit.failed(open_and_probe(circuit, clock), 0.0, "timeout")
        clock.now += 2 * LIMITS.cool_down_seconds
        circuit.succeeded(probed(circuit))

    assert [
        {
            "event": "redis_circuit_opened",
            "reason": "timeout",
            "failures": 3,
            "log_level": "warning",
        },
        {"event": "redis_circuit_closed", "log_level": "info"},
    ] == logged
