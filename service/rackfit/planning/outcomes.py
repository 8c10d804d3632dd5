"""What evaluating a split on a pool comes to: a fit, or a miss and how far it is from one."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from rackfit.engines.split import Split
from rackfit.memory.stages import StageMemory
from rackfit.planning.cells import Cell
from rackfit.planning.pools import Pool
from rackfit.planning.seating import NodeLoss
from rackfit.planning.times import Pace


class Stages(msgspec.Struct, frozen=True, gc=False):
    """The stages of a split in order, and each distinct one with how often it stands there."""

    all: tuple[StageMemory, ...]
    distinct: tuple[StageMemory, ...]
    counts: tuple[int, ...]

    def each(self, figures: Iterable[int]) -> tuple[int, ...]:
        """Give every stage the figure of its distinct one."""
        known = dict(zip(map(id, self.distinct), figures, strict=True))
        return tuple(known[id(stage)] for stage in self.all)


class Share(msgspec.Struct, frozen=True):
    """Consecutive `stages` of each replica on devices of one pool with `least_free` bytes."""

    pool: Pool
    stages: int
    least_free: int


class Fit(msgspec.Struct, frozen=True):
    """A split that fits: its stages, each distinct one's budget, and the devices it may take.

    Devices need at least `least_free` bytes; `held` sequences fit a data rank. Replicas are kept
    apart, at most `most_a_node` on a node, unless that is 0. The engine is told a `partition` of
    the layers, unless it divides them so itself. Stages on several accelerator types have one of
    `shares` for each; `pool` is that of the first. Its groups of devices are `chosen` once it is
    placed.
    """

    split: Split
    pool: Pool
    stages: Stages
    budgets: tuple[int, ...]
    least_free: int
    held: int
    most_a_node: int = 0
    partition: tuple[int, ...] | None = None
    shares: tuple[Share, ...] = ()
    chosen: tuple[Cell, ...] | None = None

    @property
    def cells(self) -> int:
        """Tensor groups it takes."""
        return self.split.pipeline * self.split.data * self.split.replicas

    def headroom_bytes(self, sequences: int) -> int:
        """What is left on the fullest rank when each data rank holds `sequences`."""
        rooms = zip(self.stages.distinct, self.budgets, strict=True)
        return min(
            budget - stage.largest_fixed_bytes - sequences * stage.sequence_bytes
            for stage, budget in rooms
        )


Lack = Literal["memory", "sequences", "time", "devices", "allowance"]


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A split that does not fit, and what lacks.

    - `memory`: a data rank has room for only `held` of the `sequences` it must hold;
    - `sequences`: the engine is started for only `held` of them;
    - `time`: a data rank serves only `held` of them within the caller's times;
    - `devices`: of the groups of tensor ranks `needed`, only as many as are `available`;
    - `allowance`: the same, `available` being what the caller allows.

    Devices had `least_free` bytes free. With a `node_loss` to be prepared for, more replicas are
    needed or fewer groups are available. `short_bytes` is what all devices together lack to serve
    the whole workload; where it is time that lacks, none would help.
    """

    split: Split
    pool: Pool
    stages: Stages
    budgets: tuple[int, ...]
    lacks: Lack
    short_bytes: int
    sequences: int
    held: int
    needed: int
    available: int
    least_free: int
    pace: Pace | None = None
    node_loss: NodeLoss | None = None


def nearer(before: Miss | None, now: Miss) -> Miss:
    """The miss to tell of two at a higher and a lower level of free memory.

    The lower one where devices lack at both: more of them lack at the higher.
    """
    if before is None:
        return now
    told = now if now.lacks == "devices" else before
    short = min(before.short_bytes, now.short_bytes)
    return msgspec.structs.replace(told, short_bytes=short)


class Room(msgspec.Struct, frozen=True, gc=False):
    """What there is for a split: `cells` groups of tensor ranks, each stage's budget on them."""

    stages: Stages
    budgets: Sequence[int]
    cells: int


def lacking_bytes(split: Split, room: Room, replicas: tuple[int, int], sequences: int) -> int:
    """What all devices lack together for replicas that serve `sequences` between them.

    What the ranks need beyond their budgets, and what the devices that are missing would hold.

    Args:
        split: how each replica is divided.
        room: what there is.
        replicas: those that serve, and those beside them in case a node is lost.
        sequences: of the whole deployment.
    """
    serving, number = replicas[0], sum(replicas)
    held = -(-sequences // (serving * split.data))
    beyond = each = 0
    stages = room.stages
    for stage, count, budget in zip(stages.distinct, stages.counts, room.budgets, strict=True):
        need = stage.largest_fixed_bytes + held * stage.sequence_bytes
        beyond += count * max(need - budget, 0)
        each = max(each, min(need, budget))
    missing = max(number * split.pipeline * split.data - room.cells, 0)
    return split.cell * (beyond * split.data * number + missing * each)
