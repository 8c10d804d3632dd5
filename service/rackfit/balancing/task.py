"""What is to be balanced, as arrays: loads in units of an evenly loaded rank's time."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


class Task(NamedTuple):
    """Rows of experts, each row to be put on ranks of its own.

    A row is a layer or, in a hierarchical placement, one node's share of a layer.

    Attributes:
        loads: [windows, rows, experts], scaled so that 1 is a rank's time where all of the
            layer's ranks are loaded evenly.
        ranks: ranks of each row.
        slots: slots of each rank.
        speeds: [rows, ranks], 1 on average over a layer.
    """

    loads: Floats
    ranks: int
    slots: int
    speeds: Floats

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.loads.shape[1])

    @property
    def experts(self) -> int:
        """Experts of a row."""
        return int(self.loads.shape[2])

    @property
    def is_alike(self) -> bool:
        """Whether the ranks of each row are equally fast."""
        return bool((self.speeds == self.speeds[:, :1]).all())

    @property
    def is_plain(self) -> bool:
        """Whether there is one window and ranks are equally fast, those of all rows."""
        return len(self.loads) == 1 and bool((self.speeds == self.speeds[0, 0]).all())

    def select(self, rows: Ints | Bools) -> "Task":
        """Return the task of some rows alone."""
        return self._replace(loads=self.loads[:, rows], speeds=self.speeds[rows])


def scaled(loads: Floats, ranks: int, slots: int, speeds: Floats | None) -> Task:
    """Make a task of measured loads [windows, layers, experts] and ranks' relative speeds."""
    total = loads.sum(axis=2, keepdims=True)
    shares = np.divide(loads, total, out=np.zeros_like(loads), where=total > 0)
    even = np.ones(ranks) if speeds is None else speeds / speeds.mean()
    return Task(shares * ranks, ranks, slots, np.tile(even, (loads.shape[1], 1)))
