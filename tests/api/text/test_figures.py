"""Figures as people read them."""

import pytest

from rackfit.api.text.figures import billions, count, numbers, ranges, split_label, things
from rackfit.engines.split import Split


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], ""), ([4], "4"), ([2, 0, 1], "0-2"), ([0, 1, 3, 7, 8], "0-1, 3, 7-8")],
)
def test_runs_are_ranges(given: list[int], expected: str) -> None:
    """Neighbours are written as one, in order."""
    assert expected == ranges(given)


def test_thousands_are_apart() -> None:
    """A dash stands for none."""
    assert ("1,234,567", "-", "1,600.0") == (count(1_234_567), count(None), billions(1600 * 10**9))


def test_one_is_no_plural() -> None:
    """`1 node`, and any other number of nodes."""
    assert ["0 nodes", "1 node", "1,200 nodes"] == [things(n, "node") for n in (0, 1, 1200)]


@pytest.mark.parametrize(
    ("split", "label"),
    [
        (Split(), "TP1"),
        (Split(tensor=8, pipeline=4, expert=8, replicas=2), "TP8 PP4 EP8 x2"),
        (Split(data=16, expert=16, context=2), "DP16 CP2 EP16"),
        (Split(replicas=8), "TP1 x8"),
    ],
)
def test_degrees_of_one_are_left_out(split: Split, label: str) -> None:
    """The split as operators write it."""
    assert label == split_label(split)


def test_bytes_among_numbers_are_gib() -> None:
    """A rule's numbers name their unit, and people get it in GiB."""
    figures = [("rank", 3), ("total_bytes", 3 << 29), ("short_bytes", 0), ("share", 0.5)]
    assert "rank 3, total 1.5 GiB, short 0, share 0.5" == numbers(figures)
