"""What a search asks of every split."""

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Phase
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.planning.pools import Pool
from rackfit.planning.seating import NodeLoss
from rackfit.planning.times import Times


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What every split is asked: hold `sequences` of `tokens` each.

    On as many `replicas` as it takes, or on exactly so many; on `most` accelerators at most.
    A context must hold a typical request of `request_tokens`; all within `times`, if given.
    Any one node may be lost, with what `node_loss` wants then; replicas are kept `apart` if asked.
    They serve one `phase` or both.
    """

    model: ServedModel
    engine: Engine
    tokens: int
    sequences: int
    replicas: int | None = None
    most: int | None = None
    request_tokens: int = 1
    times: Times | None = None
    node_loss: NodeLoss | None = None
    apart: bool = False
    phase: Phase = "both"

    def start(self, split: Split, pool: Pool) -> Start:
        """What the engine is started for on a pool's devices."""
        return Start(self.model, pool.accelerator, split, self.tokens)

    @property
    def spare(self) -> int:
        """Replicas that do not count, as they may be lost: one at least."""
        return int(self.node_loss == "serve")

    def least_held(self, split: Split) -> int:
        """Sequences a data rank must hold: one, or its share where replicas are given."""
        if self.replicas is None:
            return 1
        left = max(self.replicas - self.spare, 1)
        return -(-self.sequences // (left * split.data))
