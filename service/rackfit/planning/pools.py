"""Inventories as the search sees them: one pool an accelerator type, alike domains together.

A domain is a scale-up domain: nodes that share a `domain` label, else one node. Domains of
the same shape are planned once and counted, so the search costs by distinct shapes.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.errors import InvalidInput, Violation
from rackfit.inventory.model import Inventory, Node
from rackfit.lazy import cached_property
from rackfit.planning.reserving import NOTHING, TAKEN, Reserved

NodeShape = tuple[int, ...]
"""Free bytes of each device of a node, in the order of its devices."""

Resolve = Callable[[str, str], tuple[Accelerator, tuple[str, ...]]]

Area = tuple[str, str]
"""The labels of fabric and rack that a domain's nodes have, empty where they have none."""

UNLABELLED: Area = ("", "")


class Domain(msgspec.Struct, frozen=True):
    """One scale-up domain: the places of its nodes in the inventory, in the order given."""

    nodes: tuple[int, ...]
    area: Area = UNLABELLED


class DomainGroup(msgspec.Struct, frozen=True):
    """Domains of one shape: for each of their nodes the free bytes of its devices."""

    shape: tuple[NodeShape, ...]
    domains: tuple[Domain, ...]

    def devices(self, least_free: int) -> int:
        """Devices of one such domain with at least `least_free` bytes free."""
        return sum(free >= least_free for node in self.shape for free in node)


class Offers(msgspec.Struct, frozen=True):
    """How many tensor groups find room, by what is free on each of their devices.

    `cells[i]` groups have `levels[i]` bytes or more free on all their devices. Levels fall, and
    only those with one group more than the level before are listed: no other can matter.
    """

    levels: tuple[int, ...]
    cells: tuple[int, ...]

    def first(self, needed: int, after: int) -> int | None:
        """The place of the highest level with room for `needed` groups; None if none has.

        Places before `after` are passed over.
        """
        place = max(bisect_left(self.cells, needed), after)
        return place if place < len(self.cells) else None

    def with_more(self, level: int, cells: int) -> "Offers":
        """These and `cells` more groups of devices with `level` bytes free, the most there is."""
        levels, counts = self.levels, self.cells
        if levels[:1] != (level,):
            levels, counts = (level, *levels), (0, *counts)
        return Offers(levels, tuple(count + cells for count in counts))


class Pool(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All domains of one accelerator type, less what is `reserved`.

    `node_devices` are those of its largest node; `spares_missing` tells how many of the nodes to
    be kept spare there are not.
    """

    accelerator: Accelerator
    groups: tuple[DomainGroup, ...]
    node_devices: int
    reserved: Reserved = NOTHING
    spares_missing: int = 0

    def offers(self, size: int) -> Offers:
        """Room for groups of `size` devices, each inside one domain."""
        if size not in self._offers:
            found: Counter[int] = Counter()
            for domains, free in self._free:
                for level in free[size - 1 :: size]:
                    found[level] += domains
            levels = sorted(found, reverse=True)
            cells = accumulate(found[level] for level in levels)
            self._offers[size] = Offers(tuple(levels), tuple(cells))
        return self._offers[size]

    @cached_property
    def rooms(self) -> dict[tuple[int, int], dict[int, int]]:
        """What is known of the room on hosts, by size of a group and least bytes free."""
        return {}

    @cached_property
    def _offers(self) -> dict[int, Offers]:
        return {}

    @cached_property
    def _free(self) -> list[tuple[int, list[int]]]:
        """How many domains of each shape there are, and their devices' free bytes, most first."""
        return [
            (len(g.domains), sorted((f for n in g.shape for f in n if f != TAKEN), reverse=True))
            for g in self.groups
        ]

    def devices(self, least_free: int) -> int:
        """Devices with at least `least_free` bytes free; none as long as spares are missing."""
        if self.spares_missing:
            return 0
        return sum(len(g.domains) * g.devices(least_free) for g in self.groups)

    @cached_property
    def most_free(self) -> int:
        """Bytes free on its freest device, those of one more node like the largest included."""
        freest = (free[0] for _, free in self._free if free)
        return max(*self.new_node[1:], *freest)

    @cached_property
    def largest_domain(self) -> int:
        """Devices of the largest domain."""
        return max((g.devices(0) for g in self.groups), default=0)

    @property
    def new_node(self) -> tuple[int, int]:
        """Devices a plan may use of one more node like the largest, and the bytes of each."""
        devices = max(self.node_devices - self.reserved.devices_per_node, 0)
        return devices, max(self.accelerator.usable_bytes - self.reserved.bytes_per_device, 0)


class Pools(msgspec.Struct, frozen=True):
    """An inventory's pools by accelerator id, in order of first appearance."""

    pools: tuple[Pool, ...]
    warnings: tuple[str, ...]


def read_pools(inventory: Inventory, resolve: Resolve, reserved: Reserved = NOTHING) -> Pools:
    """Sort an inventory's nodes into pools, what is reserved left out.

    Raises:
        InvalidInput: no node at all, or every node at fault at once: duplicate names, unknown
            accelerators, free memory above the device's or of the wrong length.
    """
    if not inventory.nodes:
        raise InvalidInput.at("/inventory/nodes", "An inventory needs at least one node.")
    reader = _Reader(resolve, reserved)
    for number, node in enumerate(inventory.nodes):
        reader.read(number, node)
    if reader.violations:
        raise InvalidInput(*reader.violations[:MAX_VIOLATIONS])
    warnings = tuple(dict.fromkeys([*inventory.warnings, *reader.warnings]))
    return Pools(tuple(reader.pools()), warnings)


MAX_VIOLATIONS = 100
"""Faults reported at once; a body of 100,000 bad nodes gets a readable answer."""


class _Reader:
    """Gathers nodes into pools and faults into violations."""

    def __init__(self, resolve: Resolve, reserved: Reserved) -> None:
        self.resolve = resolve
        self.reserved = reserved
        self.known: dict[str, Accelerator | Violation] = {}
        self.accelerators: dict[str, Accelerator] = {}
        self.domains: dict[tuple[str, str | int], list[tuple[int, NodeShape]]] = {}
        self.areas: dict[int, Area] = {}
        self.names: set[str] = set()
        self.violations: list[Violation] = []
        self.warnings: list[str] = []

    def read(self, number: int, node: Node) -> None:
        """Take in one node."""
        if node.name in self.names:
            self._fault(number, "name", f"The node name {node.name!r} is used twice.")
        self.names.add(node.name)
        accelerator = self._accelerator(number, node)
        if accelerator is None:
            return
        key = (accelerator.id, number if node.domain is None else node.domain)
        shape = self._free(number, node, accelerator)
        if node.rack is not None or node.fabric is not None:
            self.areas[number] = (node.fabric or "", node.rack or "")
        self.domains.setdefault(key, []).append((number, shape))

    def _accelerator(self, number: int, node: Node) -> Accelerator | None:
        if isinstance(node.accelerator, Accelerator):
            return self._inline(number, node.accelerator)
        found = self.known.get(node.accelerator)
        if found is None:
            found = self.known[node.accelerator] = self._look_up(node.accelerator)
        if isinstance(found, Violation):
            self._fault(number, "accelerator", found.detail)
            return None
        return self.accelerators.setdefault(found.id, found)

    def _look_up(self, name: str) -> Accelerator | Violation:
        try:
            accelerator, warnings = self.resolve(name, "")
        except InvalidInput as error:
            return error.violations[0]
        self.warnings += warnings
        return accelerator

    def _inline(self, number: int, accelerator: Accelerator) -> Accelerator | None:
        if self.accelerators.setdefault(accelerator.id, accelerator) == accelerator:
            return accelerator
        detail = f"Another accelerator of this inventory is also called {accelerator.id!r}."
        self._fault(number, "accelerator", detail)
        return None

    def _free(self, number: int, node: Node, accelerator: Accelerator) -> NodeShape:
        if node.free_bytes is None:
            return (accelerator.usable_bytes,) * node.count
        if len(node.free_bytes) != node.count:
            detail = f"{len(node.free_bytes)} entries for {node.count} devices."
            self._fault(number, "free_bytes", detail)
        reported = accelerator.printed_bytes
        for device, free in enumerate(node.free_bytes):
            if free > reported:
                detail = f"{free:,} bytes free on a device of {reported:,}."
                self._fault(number, f"free_bytes/{device}", detail)
        if any(free > accelerator.usable_bytes for free in node.free_bytes):
            self.warnings.append(
                f"Free memory of {accelerator.id} above the {accelerator.usable_bytes:,} bytes an "
                "engine sees was lowered to that."
            )
        return tuple(min(free, accelerator.usable_bytes) for free in node.free_bytes)

    def _fault(self, number: int, field: str, detail: str) -> None:
        self.violations.append(Violation(f"/inventory/nodes/{number}/{field}", detail))

    def pools(self) -> Iterable[Pool]:
        """The pools gathered, each with alike domains grouped."""
        by_type: dict[str, list[list[tuple[int, NodeShape]]]] = {}
        for (accelerator, _), nodes in self.domains.items():
            by_type.setdefault(accelerator, []).append(nodes)
        for accelerator, domains in by_type.items():
            yield self._pool(self.accelerators[accelerator], domains)

    def _pool(
        self, accelerator: Accelerator, domains: Sequence[Sequence[tuple[int, NodeShape]]]
    ) -> Pool:
        reserved = self.reserved
        spares: frozenset[int] = frozenset()
        if reserved.nodes:
            spares = reserved.spares(
                (len(free), number)
                for nodes in domains
                for number, free in nodes
                if all(each == accelerator.usable_bytes for each in free)
            )
        shapes: dict[tuple[NodeShape, ...], list[Domain]] = {}
        for nodes in domains:
            kept = [node for node in nodes if node[0] not in spares] if spares else nodes
            if kept:
                shape = tuple(free for _, free in kept)
                numbers = tuple(number for number, _ in kept)
                domain = Domain(numbers, self.areas.get(numbers[0], UNLABELLED))
                shapes.setdefault(shape, []).append(domain)
        return Pool(
            accelerator=accelerator,
            groups=tuple(
                DomainGroup(
                    tuple(map(reserved.left, shape)) if reserved != NOTHING else shape,
                    self._by_area(found),
                )
                for shape, found in shapes.items()
            ),
            node_devices=max(len(free) for nodes in domains for _, free in nodes),
            reserved=reserved,
            spares_missing=reserved.nodes - len(spares),
        )

    def _by_area(self, domains: list[Domain]) -> tuple[Domain, ...]:
        """Domains of one fabric and rack next to each other, those with most domains first."""
        if not self.areas:
            return tuple(domains)
        racks = Counter(domain.area for domain in domains)
        fabrics = Counter(domain.area[0] for domain in domains)

        def order(domain: Domain) -> tuple[int, str, int, str]:
            fabric, rack = domain.area
            return -fabrics[fabric], fabric, -racks[domain.area], rack

        return tuple(sorted(domains, key=order))
