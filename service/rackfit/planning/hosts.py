"""Nodes as places for replicas that must not fall together: how many find room apart.

A host is a node with the tensor groups that find room on it; where a group is larger than its
domain's nodes, as many nodes as it takes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rackfit.planning.pools import NodeShape, Pool

Local = tuple[int, int]
"""A node's place in its domain and the device's number on it."""

LocalCell = tuple[Local, ...]

Rooms = Sequence[tuple[int, int]]
"""Tensor groups a host has room for and how many such hosts there are, largest first."""


def hosts_in(
    shape: Sequence[NodeShape], size: int, least_free: int
) -> Iterator[tuple[LocalCell, ...]]:
    """Yield the groups of `size` devices on each host of a domain; hosts without any left out."""
    gathered: list[Local] = []
    for node, free in enumerate(shape):
        devices = [(node, d) for d, bytes_free in enumerate(free) if bytes_free >= least_free]
        if len(devices) >= size:
            yield tuple(sliced(devices[: len(devices) // size * size], size))
            continue
        gathered += devices
        if len(gathered) >= size:
            yield (tuple(gathered[:size]),)
            gathered = []


def sliced(devices: Sequence[Local], size: int) -> list[LocalCell]:
    """Put devices into groups of `size`, which divides their number."""
    return [tuple(devices[start : start + size]) for start in range(0, len(devices), size)]


def rooms_of(pool: Pool, size: int, least_free: int, new: tuple[int, int] = (0, 0)) -> Rooms:
    """The room on a pool's hosts, and on `new` ones: groups on each, and how many there are."""
    known = pool.rooms.get((size, least_free))
    if known is None:
        known = pool.rooms[size, least_free] = _counted(pool, size, least_free)
    found, (each, number) = Counter(known), new
    if each:
        found[each] += number
    return sorted(found.items(), reverse=True)


def _counted(pool: Pool, size: int, least_free: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for group in pool.groups:
        for cells in hosts_in(group.shape, size, least_free):
            found[len(cells)] += len(group.domains)
    return found


def seats(rooms: Rooms, cells: int, most: int) -> int:
    """How many replicas of `cells` groups find room with at most `most` of them on a host.

    A replica larger than a host has the hosts it takes to itself: they are filled one after the
    other, largest first. No room more makes it fewer.
    """
    large = sum(number * min(most, room // cells) for room, number in rooms if room >= cells)
    return large + _joined(((room, number) for room, number in rooms if room < cells), cells)


def _joined(rooms: Iterable[tuple[int, int]], cells: int) -> int:
    """Replicas on hosts that are all too small for one."""
    replicas = begun = 0
    for room, number in rooms:
        first = -(-(cells - begun) // room)
        if number < first:
            begun += number * room
            continue
        whole, left = divmod(number - first, -(-cells // room))
        replicas += 1 + whole
        begun = left * room
    return replicas


def fullest(rooms: Rooms, cells: int) -> int:
    """The most replicas of `cells` groups that could share a host, at least one."""
    return max(rooms[0][0] // cells, 1) if rooms else 1


def lost_groups(pool: Pool, size: int, least_free: int, new: int = 0) -> int:
    """Return the most groups of `size` devices there can be fewer with any one node gone.

    Args:
        pool: the devices there are.
        size: devices of a tensor group.
        least_free: bytes each must have free.
        new: groups on a node that is added.
    """
    most = new
    for group in pool.groups:
        there = [sum(free >= least_free for free in node) for node in group.shape]
        left = [(sum(there) - node) // size for node in there]
        most = max(most, sum(there) // size - min(left))
    return most
