"""Counts that a proof's program suggests."""

import numpy as np
import pytest

from rackfit.balancing.prices import _Choices, _whole


@pytest.mark.parametrize(
    ("share", "whole"),
    [
        ([1.0, 0.0, 0.5, 0.5], [1, 2]),
        ([0.0, 1.0, 1.0, 0.0], [2, 1]),
        ([0.0, 0.0, 0.0, 0.0], None),
        ([0.0, 0.0, 1.0, 0.0], None),
        ([0.0, 1.0, 0.0, 1.0], None),
    ],
)
def test_shares_are_made_whole_or_nothing(share: list[float], whole: list[int] | None) -> None:
    """Two experts on three slots; a solver that gave up leaves an expert out, or fills too many."""
    choices = _Choices(np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2]), np.ones(4))
    found = _whole(choices, np.array(share), 2, 3)
    assert whole == (None if found is None else found.tolist())
