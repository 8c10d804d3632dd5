"""Which fitted efficiency applies, and the nearest where there is none."""

import pytest

from rackfit.catalog.entries import Efficiency
from rackfit.performance.efficiency import UNFITTED, Phase, applied


def fitted(engine: str, generation: str, factor: float, phase: Phase = "decode") -> Efficiency:
    """An efficiency with a band of a tenth."""
    return Efficiency(
        engine=engine,
        generation=generation,
        phase=phase,
        factor=factor,
        low=0.9,
        high=1.1,
        points=30,
    )


FITTED = [
    fitted("a", "new", 0.5),
    fitted("a", "old", 0.8),
    fitted("b", "new", 0.9),
    fitted("a", "new", 0.7, "prefill"),
]


def test_data_for_the_pair_applies_as_fitted() -> None:
    """An engine on a generation it was measured on keeps its factor and band."""
    found = applied(FITTED, "a", "new", "decode")

    assert (0.5, 0.9, 1.1) == (found.factor, found.low, found.high)
    assert "fitted on 30 measured points of a on new" == found.basis


def test_other_generations_stand_in_for_one_without_data() -> None:
    """The mean of the engine's own, a band that spans all of theirs, and a basis that says so."""
    found = applied(FITTED, "a", "unheard-of", "decode")

    assert pytest.approx(0.4**0.5) == found.factor
    assert pytest.approx(0.9 * found.factor / 0.8) == found.low
    assert pytest.approx(1.1 * found.factor / 0.5) == found.high
    assert "no data for a on unheard-of: mean of a on new, a on old" == found.basis


def test_other_engines_stand_in_for_one_without_data() -> None:
    """An engine that was never measured gets the mean of those on the same generation."""
    found = applied(FITTED, "c", "new", "decode")

    assert pytest.approx(0.45**0.5) == found.factor
    assert "no data for c on new: mean of a on new, b on new" == found.basis


def test_no_data_at_all_leaves_the_roofline() -> None:
    """Without any efficiency seconds are the modelled ones, and the basis says so."""
    assert UNFITTED == applied([], "a", "new", "decode")
