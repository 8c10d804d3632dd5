"""Layer lists: in order, no stage too full, and none better, by trying all."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.planning.partitions import evened, paced


def all_partitions(layers: int, stages: int) -> list[tuple[int, ...]]:
    """Every way to cut so many layers into so many stages of one at least."""
    cuts = combinations(range(1, layers), stages - 1)
    return [tuple(b - a for a, b in zip((0, *cut), (*cut, layers), strict=True)) for cut in cuts]


def least_left(loads: list[int], rooms: list[int], partition: tuple[int, ...]) -> int:
    """What is left on the fullest stage."""
    left, place = [], 0
    for layers, room in zip(partition, rooms, strict=True):
        left.append(room - sum(loads[place : place + layers]))
        place += layers
    return min(left)


@given(
    loads=st.lists(st.integers(1, 20), min_size=1, max_size=9),
    rooms=st.lists(st.integers(1, 60), min_size=1, max_size=4),
)
def test_no_other_list_leaves_more_room(loads: list[int], rooms: list[int]) -> None:
    """Nor is there one where none is found."""
    found = evened(loads, rooms)
    others = all_partitions(len(loads), len(rooms)) if len(rooms) <= len(loads) else []
    best = max((least_left(loads, rooms, other) for other in others), default=-1)
    if found is None:
        assert best < 0
    else:
        assert best == least_left(loads, rooms, found)


def test_heavy_ends_get_fewer_layers() -> None:
    """A first and a last stage that hold more beside their layers."""
    assert (2, 4, 4, 2) == evened([10] * 12, [30, 50, 50, 30])


@given(
    loads=st.lists(st.integers(1, 20), min_size=1, max_size=9),
    stages=st.lists(
        st.tuples(st.integers(1, 80), st.sampled_from([0.1, 0.3, 1.0])), min_size=1, max_size=4
    ),
)
def test_no_other_list_is_faster_and_has_room(
    loads: list[int], stages: list[tuple[int, float]]
) -> None:
    """The slowest stage takes as long as it must, given what the stages hold."""
    rooms, seconds = [room for room, _ in stages], [each for _, each in stages]
    found = paced(loads, rooms, seconds)
    others = all_partitions(len(loads), len(rooms)) if len(rooms) <= len(loads) else []
    slowest = [
        max(layers * each for layers, each in zip(other, seconds, strict=True))
        for other in others
        if least_left(loads, rooms, other) >= 0
    ]
    if found is None:
        assert [] == slowest
    else:
        assert least_left(loads, rooms, found) >= 0
        reached = max(layers * each for layers, each in zip(found, seconds, strict=True))
        assert min(slowest) == pytest.approx(reached)
