"""PyTorch's rounding of large tensors."""

import pytest

from rackfit.engines.torch_memory import MIB, allocated_bytes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (9 * MIB, 9 * MIB),  # small enough to share a segment
        (231 * MIB, 232 * MIB),  # one MiB is not split off
        (259 * MIB, 260 * MIB),
        (int(24.5 * MIB), int(24.5 * MIB)),  # 1.5 MiB is
        (80 * MIB, 80 * MIB),
        (int(129.5 * MIB), 130 * MIB),
    ],
)
def test_what_is_left_of_a_segment_is_counted_unless_split_off(size: int, expected: int) -> None:
    """Segments are whole multiples of 2 MiB from 10 MiB on."""
    assert expected == allocated_bytes(size)
