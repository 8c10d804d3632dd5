"""Replicas as flat arrays: their order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rackfit.balancing.packing import ascending


@given(st.lists(st.lists(st.integers(-9, 9), min_size=7, max_size=7), min_size=1, max_size=3))
def test_values_are_put_in_order(rows: list[list[int]]) -> None:
    """Equal ones in that of their numbers, as a stable sort has them."""
    values = np.array(rows, np.float64)

    assert ascending(values).tolist() == np.argsort(values, axis=1, kind="stable").tolist()
