"""Which layers stand on which stage: layer lists that leave the fullest rank most room."""

from collections.abc import Sequence

Partition = tuple[int, ...]
"""Layers on each pipeline stage."""

FINE = 1 << 12
"""The least room left is found to this part of it."""

ROUNDING = 1e-9
"""A whole number of layers, divided and multiplied, may come out so much smaller."""


def evened(loads: Sequence[int], rooms: Sequence[int]) -> Partition | None:
    """Divide layers over stages, in order, so that the least room left is as large as can be.

    To within a 4,096th.

    None where some stage would be too full, or without a layer.

    Args:
        loads: bytes of each layer, 1 at least.
        rooms: bytes each stage has for its layers.
    """
    if len(loads) < len(rooms) or sum(loads) > sum(rooms):
        return None
    found = _filled(loads, rooms, 0)
    if found is None:
        return None
    low, high = 0, min(rooms)
    while high - low > max(high // FINE, 1):
        middle = (low + high) // 2
        other = _filled(loads, rooms, middle)
        low, high, found = (low, middle, found) if other is None else (middle, high, other)
    return found


def paced(loads: Sequence[int], rooms: Sequence[int], seconds: Sequence[float]) -> Partition | None:
    """Divide layers over stages, in order, so that the slowest stage is as fast as can be.

    None where some stage would be too full, or without a layer.

    Args:
        loads: bytes of each layer, 1 at least.
        rooms: bytes each stage has for its layers.
        seconds: what each stage takes for a layer.
    """
    if len(loads) < len(rooms) or sum(loads) > sum(rooms):
        return None
    times = sorted({n * each for each in set(seconds) for n in range(1, len(loads) + 1)})
    found: Partition | None = None
    low, high = -1, len(times)
    while high - low > 1:
        middle = (low + high) // 2
        most = [int(times[middle] / each + ROUNDING) for each in seconds]
        other = _filled(loads, rooms, 0, most)
        low, high, found = (middle, high, found) if other is None else (low, middle, other)
    return found


def _filled(
    loads: Sequence[int], rooms: Sequence[int], spare: int, layers: Sequence[int] | None = None
) -> Partition | None:
    """Fill every stage so that `spare` bytes are left, with a layer at least; None if none can be.

    At most so many `layers` each, if given. What is found fills the first stages as far as can be
    without leaving a later one nothing that it has room for.
    """
    most = layers or [len(loads)] * len(rooms)
    limits = [(room - spare, count) for room, count in zip(rooms, most, strict=True)]
    least = min(loads)
    if sum(min(room // least, count) for room, count in limits) < len(loads):
        return None
    return _greedily(loads, limits) or _thoroughly(loads, limits)


Limit = tuple[int, int]
"""Bytes a stage has for its layers, and how many layers it may have."""


def _greedily(loads: Sequence[int], limits: Sequence[Limit]) -> Partition | None:
    """Fill stage after stage, a layer left for each later one: finds most of what there is."""
    partition, start = [], 0
    for later, (room, most) in zip(reversed(range(len(limits))), limits, strict=True):
        end = max(_ends(loads, start, room, min(most, len(loads) - later - start)), default=start)
        if end == start:
            return None
        partition.append(end - start)
        start = end
    return tuple(partition) if start == len(loads) else None


def _thoroughly(loads: Sequence[int], limits: Sequence[Limit]) -> Partition | None:
    """Look at every place where a stage may end."""
    reached = [{0}]
    for limit in limits:
        reached.append({end for start in reached[-1] for end in _ends(loads, start, *limit)})
    if len(loads) not in reached[-1]:
        return None
    end, partition = len(loads), []
    for starts, limit in zip(reversed(reached[:-1]), reversed(limits), strict=True):
        start = max(s for s in starts if s < end and end in _ends(loads, s, *limit))
        partition.append(end - start)
        end = start
    return tuple(reversed(partition))


def _ends(loads: Sequence[int], start: int, room: int, most: int) -> range:
    """Where a stage may end that begins at a layer."""
    end = start
    while end < len(loads) and end - start < most and loads[end] <= room:
        room -= loads[end]
        end += 1
    return range(start + 1, end + 1)
