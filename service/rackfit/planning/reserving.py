"""What is kept for others before anything is planned: bytes, devices, whole nodes."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from rackfit.catalog.entries import Bytes

TAKEN = -1
"""Free bytes of a device that is no longer there for the plan, whatever it asks for.

So is one of which all that is free is reserved.
"""


class Reserved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of each accelerator type's nodes is left alone.

    - `bytes_per_device`: so much of what is free on each device;
    - `devices_per_node`: so many devices of each node, those with least free first;
    - `nodes`: so many whole nodes as spares, on which nothing runs; the smallest first.
    """

    bytes_per_device: Bytes = 0
    devices_per_node: Annotated[int, Meta(ge=0, le=1024)] = 0
    nodes: Annotated[int, Meta(ge=0, le=200_000)] = 0

    def left(self, free: Sequence[int]) -> tuple[int, ...]:
        """What is left of the free bytes of a node's devices."""
        if self == NOTHING:
            return tuple(free)
        less = self.bytes_per_device
        left = [each - less if each > less or not less else TAKEN for each in free]
        by_free = sorted(range(len(left)), key=lambda device: (free[device], -device))
        for device in by_free[: self.devices_per_node]:
            left[device] = TAKEN
        return tuple(left)

    def spares(self, unused: Iterable[tuple[int, int]]) -> frozenset[int]:
        """Choose spares among unused nodes, each given as (devices, place in the inventory)."""
        by_size = sorted(unused, key=lambda node: (node[0], -node[1]))
        return frozenset(place for _, place in by_size[: self.nodes])


NOTHING = Reserved()
