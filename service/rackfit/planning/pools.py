"""Inventories as the search sees them: one pool an accelerator type, alike domains together.

A domain is a scale-up domain: nodes that share a `domain` label, else one node. Domains of
the same shape are planned once and counted, so the search costs by distinct shapes.
"""

from collections.abc import Callable, Iterable
from functools import cached_property

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.errors import InvalidInput, Violation
from rackfit.inventory.model import Inventory, Node

NodeShape = tuple[int, ...]
"""Free bytes of each device of a node, in the order of its devices."""

Resolve = Callable[[str, str], tuple[Accelerator, tuple[str, ...]]]


class Domain(msgspec.Struct, frozen=True):
    """One scale-up domain: the places of its nodes in the inventory, in the order given."""

    nodes: tuple[int, ...]


class DomainGroup(msgspec.Struct, frozen=True):
    """Domains of one shape: for each of their nodes the free bytes of its devices."""

    shape: tuple[NodeShape, ...]
    domains: tuple[Domain, ...]

    def devices(self, least_free: int) -> int:
        """Devices of one such domain with at least `least_free` bytes free."""
        return sum(free >= least_free for node in self.shape for free in node)


class Pool(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All domains of one accelerator type."""

    accelerator: Accelerator
    groups: tuple[DomainGroup, ...]

    @cached_property
    def free_levels(self) -> tuple[int, ...]:
        """Each distinct amount of free memory a device has, most first."""
        return tuple(
            sorted({f for g in self.groups for node in g.shape for f in node}, reverse=True)
        )

    def devices(self, least_free: int) -> int:
        """Devices with at least `least_free` bytes free."""
        return sum(len(g.domains) * g.devices(least_free) for g in self.groups)

    def cells(self, size: int, least_free: int) -> int:
        """Groups of `size` devices, each inside one domain, with `least_free` bytes free."""
        return sum(len(g.domains) * (g.devices(least_free) // size) for g in self.groups)

    @property
    def largest_domain(self) -> int:
        """Devices of the largest domain."""
        return max(g.devices(0) for g in self.groups)

    @property
    def largest_node(self) -> int:
        """Devices of the largest node."""
        return max(len(node) for g in self.groups for node in g.shape)

    def with_more(self, nodes: int) -> "Pool":
        """This pool and `nodes` more, all free, of its largest node's size."""
        free = (self.accelerator.usable_bytes,) * self.largest_node
        shape = (free,)
        fresh = tuple(Domain((-1 - number,)) for number in range(nodes))
        return msgspec.structs.replace(self, groups=(*self.groups, DomainGroup(shape, fresh)))


class Pools(msgspec.Struct, frozen=True):
    """An inventory's pools by accelerator id, in order of first appearance."""

    pools: tuple[Pool, ...]
    warnings: tuple[str, ...]


def read_pools(inventory: Inventory, resolve: Resolve) -> Pools:
    """Sort an inventory's nodes into pools.

    Raises:
        InvalidInput: no node at all, or every node at fault at once: duplicate names, unknown
            accelerators, free memory above the device's or of the wrong length.
    """
    if not inventory.nodes:
        raise InvalidInput.at("/inventory/nodes", "An inventory needs at least one node.")
    reader = _Reader(resolve)
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

    def __init__(self, resolve: Resolve) -> None:
        self.resolve = resolve
        self.known: dict[str, Accelerator | Violation] = {}
        self.accelerators: dict[str, Accelerator] = {}
        self.domains: dict[tuple[str, str | int], list[tuple[int, NodeShape]]] = {}
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
        reported = accelerator.reported_bytes or accelerator.usable_bytes
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
        by_type: dict[str, dict[tuple[NodeShape, ...], list[Domain]]] = {}
        for (accelerator, _), nodes in self.domains.items():
            shape = tuple(free for _, free in nodes)
            places = Domain(tuple(number for number, _ in nodes))
            by_type.setdefault(accelerator, {}).setdefault(shape, []).append(places)
        for accelerator, shapes in by_type.items():
            groups = tuple(DomainGroup(s, tuple(domains)) for s, domains in shapes.items())
            yield Pool(accelerator=self.accelerators[accelerator], groups=groups)
