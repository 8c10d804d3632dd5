"""What splits lack at least: most that have no room are ruled out before they are evaluated."""

from rackfit.engines.split import Split
from rackfit.lazy import cached_property
from rackfit.memory.columns import least_bytes
from rackfit.planning.asked import Question
from rackfit.planning.pools import Pool
from rackfit.planning.sizing import Sizing


class Bounds:
    """Bounds on what one replica of a split takes, and on what its devices hold."""

    def __init__(self, question: Question, sizing: Sizing) -> None:
        self.question = question
        self.sizing = sizing
        self._held: dict[tuple[int, int, int, int, int], int] = {}

    def least_short(self, split: Split, pool: Pool) -> int:
        """Bytes that `split` lacks at least: what is beyond all that one replica's devices hold.

        Ranks hold no less than all weights together, but for what engines drop of them, and each
        data rank the rows of what it must serve: above 0 it is a miss however it is placed, on
        added nodes too; 0 and below say nothing.
        """
        return self.least_bytes(split) - split.devices_per_replica * self.most_held(split, pool)

    def surely_short(self, split: Split, pool: Pool) -> int:
        """The same with what the engine takes of each device: more to work out, and nearer."""
        sizes = self.sizing.prepared(pool.accelerator, self.question.tokens).sizes(split)
        left = pool.most_free - sizes.taken(split).least_bytes
        return self.least_bytes(split) - split.devices_per_replica * left

    def least_bytes(self, split: Split) -> int:
        """Bytes one replica takes at least, on all its devices together."""
        weights, sequence = self._least
        return weights + split.data * self.question.least_held(split) * sequence

    def most_held(self, split: Split, pool: Pool) -> int:
        """Bytes of weights and cache that a device of a pool holds at most.

        Pools are known again by their identity.
        """
        key = id(pool), split.tensor, split.data, split.context, split.pipeline
        held = self._held.get(key)
        if held is None:
            start = self.question.start(split, pool)
            held = self._held[key] = self.question.engine.most_held(start, pool.most_free)
        return held

    @cached_property
    def _least(self) -> tuple[int, int]:
        """Bytes of all weights, as few as are kept, and of one sequence."""
        sequence = self.sizing.least_sequence_bytes(self.question.tokens)
        return least_bytes(self.question.model), sequence
