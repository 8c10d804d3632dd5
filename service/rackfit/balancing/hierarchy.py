"""Groups of experts onto nodes, so that a token's experts lie on few nodes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rackfit.balancing.aimed import aim
from rackfit.balancing.packing import Packing
from rackfit.balancing.starts import deal
from rackfit.balancing.sweeps import sweep
from rackfit.balancing.task import Floats, Ints, Task

_EXACT = 1e-9
"""How far above the mean a node may stay: rounding only, as no rank of it can do better."""

_ROUNDS, _SWEEPS = 8, 60
"""Most rounds of exchanges of groups that are looked up, and then sweeps in which all are weighed:
both are cheap, as groups are few.
"""


class Nodes(NamedTuple):
    """Each node's share of each layer as a row of its own.

    Attributes:
        task: [layers * nodes] rows.
        expert: which experts they are of the layer, [rows, experts of a node].
        goal: time of the layer's slowest node, which none of its ranks can be held below, [rows].
    """

    task: Task
    expert: Ints
    goal: Floats


def group_task(task: Task, nodes: int, groups: int) -> Task:
    """Return the spread of groups over nodes as a task: groups are experts, nodes are ranks."""
    windows, layers, experts = task.loads.shape
    each = task.ranks // nodes
    loads = task.loads.reshape(windows, layers, groups, experts // groups).sum(axis=3)
    speeds = task.speeds.reshape(layers, nodes, each).mean(axis=2)
    return Task(loads / each, nodes, groups // nodes, speeds)


def spread(task: Task, nodes: int, groups: int, expired: Callable[[], bool]) -> Nodes:
    """Spread groups over nodes, as evenly as can be found."""
    over = group_task(task, nodes, groups)
    packing = Packing(over, np.ones((task.rows, groups), np.int64))
    deal(packing)
    goal = np.ones(task.rows)
    limit = goal * (1 + _EXACT)
    aim(packing, goal, limit, expired, _ROUNDS)
    sweep(packing, limit, expired, _SWEEPS)
    size, experts = task.experts // groups, task.experts // nodes
    group = packing.placed().reshape(task.rows * nodes, -1)
    expert = (group[:, :, None] * size + np.arange(size)).reshape(-1, experts)
    layer = np.repeat(np.arange(task.rows), nodes)
    loads = task.loads[:, layer[:, None], expert]
    speeds = task.speeds.reshape(len(layer), -1)
    slowest = np.repeat(packing.peaks(), nodes)
    return Nodes(Task(loads, task.ranks // nodes, task.slots, speeds), expert, slowest)
