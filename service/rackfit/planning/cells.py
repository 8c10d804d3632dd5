"""Which groups of devices a plan takes: replicas together where they have room, or apart.

A cell is the devices of one tensor group, its context ranks included, in a scale-up domain. A
replica's cells follow each other, stage by stage, those of one stage over all its data ranks (its
expert group) together.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from operator import itemgetter

import msgspec

from rackfit.engines.split import Split
from rackfit.planning.hosts import hosts_in, sliced
from rackfit.planning.pools import Domain, DomainGroup, NodeShape, Pool
from rackfit.planning.reserving import TAKEN

Device = tuple[int, int]
"""A node's place in the inventory and the device's number on it."""

Cell = tuple[Device, ...]
"""The devices of one tensor group."""


class Offer(msgspec.Struct, frozen=True):
    """A domain with room for `room` groups of devices with enough free memory."""

    room: int
    group: DomainGroup
    domain: Domain
    size: int
    least_free: int

    def cells(self, number: int) -> list[Cell]:
        """Groups of its devices: whole on a node as long as nodes have room for one."""
        whole: list[Cell] = []
        rest: list[Device] = []
        for node, free in zip(self.domain.nodes, self.group.shape, strict=True):
            devices = [(node, d) for d, there in enumerate(free) if there >= self.least_free]
            fitting = len(devices) // self.size * self.size
            whole += sliced(devices[:fitting], self.size)
            rest += devices[fitting:]
        across = rest[: len(rest) // self.size * self.size]
        return [*whole, *sliced(across, self.size)][:number]


def packed_cells(pool: Pool, split: Split, least_free: int) -> list[Cell]:
    """Take a split's groups from as few domains as possible.

    Each replica out of one domain if that can be, else of one rack, else of one fabric.
    """
    replica = split.data * split.pipeline
    offers = _offers(pool, split.cell, least_free, replica * split.replicas)
    alone = [[offer] for offer in offers]
    for areas in (alone, _labelled(offers, 2), _labelled(offers, 1)):
        cells = _whole_replicas(areas, replica, split.replicas)
        if cells is not None:
            return cells
    return _fewest(offers, replica * split.replicas)


def even_cells(pool: Pool, size: int, least_free: int, needed: int) -> list[Cell] | None:
    """Take `needed` groups from as few domains as possible, as many from each.

    Out of one rack or else one fabric, as `packed_cells` would. None where domains there do not
    have the same room. Launchers of several nodes want it so.
    """
    offers = _offers(pool, size, least_free, needed)
    for areas in (_labelled(offers, 2), _labelled(offers, 1), [offers]):
        roomy = [area for area in areas if sum(offer.room for offer in area) >= needed]
        if roomy:
            return next((cells for area in roomy if (cells := _evenly(area, needed))), None)
    return None


def _evenly(offers: Sequence[Offer], needed: int) -> list[Cell] | None:
    for domains in range(1, len(offers) + 1):
        each, more = divmod(needed, domains)
        if not more and offers[domains - 1].room >= each:
            return [cell for offer in offers[:domains] for cell in offer.cells(each)]
    return None


def apart_cells(pool: Pool, split: Split, least_free: int, most: int) -> list[Cell]:
    """Take a split's groups with at most `most` replicas on a node, racks taken by turns.

    There must be room for all of them, by `hosts.seats`.
    """
    cells = split.data * split.pipeline
    hosts = sorted(_hosts(pool, split.cell, least_free), key=lambda host: -len(host[0]))
    large = _by_turns([host for host in hosts if len(host[0]) >= cells])
    small = [host[0] for host in hosts if len(host[0]) < cells]
    found = [
        host[turn * cells : (turn + 1) * cells]
        for turn in range(most)
        for host in large
        if len(host) >= (turn + 1) * cells
    ]
    if len(found) < split.replicas:
        found += _joined(small, cells)
    return [cell for replica in found[: split.replicas] for cell in replica]


def without(pool: Pool, cells: Iterable[Cell]) -> Pool:
    """Return the same pool with these groups' devices taken."""
    taken: dict[int, set[int]] = {}
    for node, device in (device for cell in cells for device in cell):
        taken.setdefault(node, set()).add(device)
    shapes: dict[tuple[NodeShape, ...], list[Domain]] = {}
    for group in pool.groups:
        for domain in group.domains:
            shape = tuple(
                _less(free, taken.get(node))
                for node, free in zip(domain.nodes, group.shape, strict=True)
            )
            shapes.setdefault(shape, []).append(domain)
    groups = (DomainGroup(shape, tuple(domains)) for shape, domains in shapes.items())
    return msgspec.structs.replace(pool, groups=tuple(groups))


def _less(free: NodeShape, taken: Container[int] | None) -> NodeShape:
    if taken is None:
        return free
    return tuple(TAKEN if device in taken else there for device, there in enumerate(free))


def _offers(pool: Pool, size: int, least_free: int, needed: int) -> list[Offer]:
    """Every domain worth looking at, most room first."""
    rooms = [(group.devices(least_free) // size, group) for group in pool.groups]
    rooms = sorted((pair for pair in rooms if pair[0]), key=lambda pair: -pair[0])
    return [
        Offer(room, group, domain, size, least_free)
        for room, group in rooms
        for domain in group.domains[:needed]
    ]


def _labelled(offers: Iterable[Offer], labels: int) -> list[list[Offer]]:
    """Put domains together whose first labels, of fabric and rack, are the same and not empty."""
    areas: dict[tuple[str, ...], list[Offer]] = {}
    for offer in offers:
        label = offer.domain.area[:labels]
        if any(label):
            areas.setdefault(label, []).append(offer)
    return list(areas.values())


def _whole_replicas(areas: Sequence[list[Offer]], unit: int, needed: int) -> list[Cell] | None:
    """Take `needed` replicas of `unit` groups, each out of one area; None if that cannot be.

    Areas with most room first; once one holds all that is missing, the smallest such.
    """
    rooms = [(sum(offer.room for offer in area) // unit, area) for area in areas]
    rooms = sorted((pair for pair in rooms if pair[0]), key=lambda pair: -pair[0])
    chosen: list[Cell] = []
    for place, (room, area) in enumerate(rooms):
        if room < needed:
            chosen += _fewest(area, room * unit)
            needed -= room
            continue
        _, last = min((pair for pair in rooms[place:] if pair[0] >= needed), key=lambda p: p[0])
        return chosen + _fewest(last, needed * unit)
    return None


def _fewest(offers: Sequence[Offer], needed: int) -> list[Cell]:
    """Take groups from as few domains as possible; the last is the smallest that does."""
    chosen: list[Cell] = []
    for place, offer in enumerate(offers):
        if offer.room < needed:
            chosen += offer.cells(offer.room)
            needed -= offer.room
            continue
        enough = (other for other in offers[place:] if other.room >= needed)
        return chosen + min(enough, key=lambda other: other.room).cells(needed)
    return chosen


Host = tuple[list[Cell], tuple[str, ...]]
"""The groups on a host, and the labels of its domain."""


def _hosts(pool: Pool, size: int, least_free: int) -> Iterator[Host]:
    for group in pool.groups:
        local = list(hosts_in(group.shape, size, least_free))
        for domain in group.domains:
            for cells in local:
                placed = [tuple((domain.nodes[n], d) for n, d in cell) for cell in cells]
                yield placed, domain.area


def _by_turns(hosts: Iterable[Host]) -> list[list[Cell]]:
    """One host of each rack, then the next of each."""
    met: Counter[tuple[str, ...]] = Counter()
    turns: list[tuple[int, list[Cell]]] = []
    for cells, area in hosts:
        turns.append((met[area], cells))
        met[area] += 1
    return [cells for _, cells in sorted(turns, key=itemgetter(0))]


def _joined(hosts: Iterable[list[Cell]], cells: int) -> list[list[Cell]]:
    """Replicas on hosts that are all too small for one, each with hosts of its own."""
    replicas = []
    begun: list[Cell] = []
    for host in hosts:
        begun += host
        if len(begun) >= cells:
            replicas.append(begun[:cells])
            begun = []
    return replicas
