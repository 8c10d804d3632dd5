"""How many prefill and decode replicas keep up with each other."""

from hypothesis import given
from hypothesis import strategies as st

from rackfit.performance.disaggregation import Worker, match_rates

rates = st.floats(min_value=0.01, max_value=1e4)
sizes = st.integers(min_value=1, max_value=64)
workers = st.builds(Worker, requests_per_second=rates, accelerators=sizes)


def test_smallest_numbers_that_match_are_found() -> None:
    """Three prefills of 2 requests a second feed two decodes of 3, and nothing smaller does."""
    prefill = Worker(requests_per_second=2, accelerators=8)
    decode = Worker(requests_per_second=3, accelerators=16)

    matched = match_rates(prefill, decode, tolerance=0.05)

    assert matched is not None
    assert (3, 2) == (matched.prefill, matched.decode)
    assert 3 * 8 + 2 * 16 == matched.accelerators
    assert 6 == matched.requests_per_second
    assert 0 == matched.idle


def test_tolerance_buys_smaller_numbers() -> None:
    """What is a fifth apart matches one to one where a fifth may be idle."""
    prefill = Worker(requests_per_second=4, accelerators=8)
    decode = Worker(requests_per_second=5, accelerators=8)

    loose = match_rates(prefill, decode, tolerance=0.21)

    assert loose is not None
    assert (1, 1) == (loose.prefill, loose.decode)


def test_limit_too_small_gives_none() -> None:
    """No match is an answer: 5P4D needs 72 accelerators where 71 are there."""
    prefill = Worker(requests_per_second=4, accelerators=8)
    decode = Worker(requests_per_second=5, accelerators=8)

    assert match_rates(prefill, decode, tolerance=0.0, accelerators=71) is None
    assert match_rates(prefill, decode, tolerance=0.0, accelerators=72) is not None


@given(prefill=workers, decode=workers, limit=st.integers(min_value=1, max_value=256))
def test_nothing_smaller_matches(prefill: Worker, decode: Worker, limit: int) -> None:
    """Trying all numbers within the limit finds no match on fewer accelerators."""
    matched = match_rates(prefill, decode, tolerance=0.1, accelerators=limit)
    smallest = min(
        (
            x * prefill.accelerators + y * decode.accelerators
            for x in range(1, limit // prefill.accelerators + 1)
            for y in range(1, (limit - x * prefill.accelerators) // decode.accelerators + 1)
            if _idle(x * prefill.requests_per_second, y * decode.requests_per_second) <= 0.1
        ),
        default=None,
    )

    assert smallest == (matched.accelerators if matched else None)


def _idle(one: float, other: float) -> float:
    return 1 - min(one, other) / max(one, other)
