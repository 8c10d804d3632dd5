"""How many replicas are placed where a node may be lost, or where they are kept apart."""

from typing import Literal

import msgspec

from rackfit.engines.split import Split
from rackfit.planning.hosts import Rooms, fullest, lost_groups, rooms_of, seats
from rackfit.planning.pools import Pool

NodeLoss = Literal["serve", "replan"]
"""What any one node's loss must leave.

- `serve`: replicas that go on and hold all sequences between them;
- `replan`: room in the inventory to start the whole plan again without that node.
"""


class Ground(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where replicas of a split are to go: devices of a pool with `level` bytes free.

    `cells` of its tensor groups find room there, those of `new` nodes, of `each` groups, included.
    """

    split: Split
    pool: Pool
    level: int
    cells: int
    each: int = 0
    new: int = 0

    @property
    def replica_cells(self) -> int:
        """Tensor groups of one replica."""
        return self.split.pipeline * self.split.data

    @property
    def rooms(self) -> Rooms:
        """Room for tensor groups by node."""
        return rooms_of(self.pool, self.split.cell, self.level, (self.each, self.new))


class Seating(msgspec.Struct, frozen=True, gc=False):
    """`replicas` to place, at most so many on a node (0: any), and groups there is room for."""

    replicas: int
    most_a_node: int
    available: int


class Demand(msgspec.Struct, frozen=True, gc=False):
    """Replicas that must be there, or must be left; if `given`, there are just so many in all."""

    replicas: int
    given: int | None = None


def seat(ground: Ground, demand: Demand, loss: NodeLoss | None, *, apart: bool) -> Seating:
    """Find how many replicas it takes, with as few on a node as can be where that matters."""
    if loss == "serve":
        return _serving_on(ground, demand)
    cells = ground.cells
    if loss == "replan":
        new = ground.each if ground.new else 0
        cells -= lost_groups(ground.pool, ground.split.cell, ground.level, new)
    replicas = demand.given or demand.replicas
    return Seating(replicas, _fewest_a_node(ground, replicas) if apart else 0, cells)


def _serving_on(ground: Ground, demand: Demand) -> Seating:
    """As many replicas as are needed, and as many more as share a node.

    The fewer share one, the fewer there must be: one is tried first.
    """
    rooms, each = ground.rooms, ground.replica_cells
    for most in range(1, fullest(rooms, each) + 1):
        replicas = demand.given or demand.replicas + most
        if replicas - most < demand.replicas:
            break
        room = seats(rooms, each, most)
        if room >= replicas:
            return Seating(replicas, most, room * each)
    fewest = demand.given or demand.replicas + 1
    most = max(fewest - demand.replicas, 1)
    return Seating(fewest, most, min(seats(rooms, each, most), fewest - 1) * each)


def _fewest_a_node(ground: Ground, replicas: int) -> int:
    """The fewest replicas on a node with which all find room; 0 where they must be mixed."""
    rooms, each = ground.rooms, ground.replica_cells
    for most in range(1, fullest(rooms, each) + 1):
        if seats(rooms, each, most) >= replicas:
            return most
    return 0
