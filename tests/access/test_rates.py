"""How often a caller may ask."""

from hypothesis import given
from hypothesis import strategies as st

from rackfit.access import rates
from rackfit.access.rates import Rates


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    """Three at once, then one each half second; who waits as told is let through."""
    clock = Clock()
    bucket = Rates(2.0, 3, clock)
    assert [0.0] * 3 == [bucket.wait("a") for _ in range(3)]
    wait = bucket.wait("a")
    assert wait == 0.5
    clock.now += wait
    assert bucket.wait("a") == 0.0


def test_callers_do_not_count_for_each_other() -> None:
    """One who asks too often is alone in that."""
    bucket = Rates(1.0, 1, Clock())
    assert bucket.wait("a") == bucket.wait("b") == 0.0
    assert bucket.wait("a") > 0


@given(steps=st.lists(st.floats(0, 2), max_size=200), burst=st.integers(1, 10))
def test_never_more_than_the_rate_allows(steps: list[float], burst: int) -> None:
    """Over any time, at most the burst and what the rate gives by then."""
    clock = Clock()
    bucket = Rates(3.0, burst, clock)
    taken = 0
    for step in steps:
        clock.now += step
        taken += bucket.wait("a") == 0.0
        assert taken <= burst + 3.0 * clock.now + 1e-6


def test_only_so_many_callers_are_remembered() -> None:
    """Strangers by the million take no memory."""
    bucket = Rates(1.0, 1, Clock())
    for number in range(rates.MAX_CALLERS + 500):
        bucket.wait(str(number))
    assert len(bucket._left) == rates.MAX_CALLERS  # noqa: SLF001 - what is bounded
