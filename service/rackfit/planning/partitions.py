"""Which layers stand on which stage: layer lists that leave the fullest rank most room."""

from collections.abc import Sequence

Partition = tuple[int, ...]
"""Layers on each pipeline stage."""

ROUNDING = 1e-9
"""A whole number of layers, divided and multiplied, may come out so much smaller."""


def evened(loads: Sequence[int], rooms: Sequence[int]) -> Partition | None:
    """Divide layers over stages, in order, so that the least room left is as large as can be.

    None where some stage would be too full, or without a layer.

    Args:
        loads: bytes of each layer.
        rooms: bytes each stage has for its layers.
    """
    if len(loads) < len(rooms) or sum(loads) > sum(rooms):
        return None
    found = _filled(loads, rooms, 0)
    if found is None:
        return None
    low, high = 0, min(rooms)
    while high - low > 1:
        middle = (low + high) // 2
        other = _filled(loads, rooms, middle)
        low, high, found = (low, middle, found) if other is None else (middle, high, other)
    return found


def paced(loads: Sequence[int], rooms: Sequence[int], seconds: Sequence[float]) -> Partition | None:
    """Divide layers over stages, in order, so that the slowest stage is as fast as can be.

    None where some stage would be too full, or without a layer.

    Args:
        loads: bytes of each layer.
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
    """Fill stage after stage as far as `spare` bytes are left; each later one gets a layer too.

    At most so many `layers` each, if given. If that does not place all no other way does.
    """
    partition: list[int] = []
    placed = 0
    for stage, room in enumerate(rooms):
        most = len(loads) - (len(rooms) - stage - 1)
        if layers is not None:
            most = min(most, placed + layers[stage])
        end, left = placed, room - spare
        while end < most and loads[end] <= left:
            left -= loads[end]
            end += 1
        if end == placed:
            return None
        partition.append(end - placed)
        placed = end
    return tuple(partition) if placed == len(loads) else None
