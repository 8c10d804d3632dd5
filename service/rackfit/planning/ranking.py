"""Which of two fitting plans is better, the same way every time."""

import msgspec

from rackfit.memory.stages import sequences_per_rank
from rackfit.planning.evaluation import Fit
from rackfit.planning.question import Objective

Key = tuple[float | str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The order an objective puts plans in, for a deployment of `sequences`."""

    objective: Objective
    sequences: int

    def key(self, fit: Fit) -> Key:
        """Sort key of a plan, best first.

        Fewest accelerators; then the shortest pipeline (no bubbles), most headroom and last a
        fixed order of degrees and names, so that ties always break alike.
        """
        split = fit.split
        headroom = fit.headroom_bytes(sequences_per_rank(split, self.sequences))
        degrees = (split.pipeline, -headroom, -split.tensor, split.data, split.expert)
        return (split.devices, *degrees, fit.pool.accelerator.id)

    def settled(self, worst: Fit, devices: int) -> bool:
        """Tell whether no plan of `devices` or more a replica comes before `worst`."""
        return devices > worst.split.devices
