"""The questions turned round: how long, how many, and with how little of each device."""

from collections.abc import Callable, Sequence

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.split import Split
from rackfit.memory.stages import StageMemory, sequences_held

PER_MILLE = 1000


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's stages on devices of `usable` bytes; `sequences` are those of a data rank."""

    engine: Engine
    split: Split
    stages: tuple[StageMemory, ...]
    usable: int
    sequences: int

    def budgets(self, engine: Engine | None = None) -> list[int]:
        """What each stage's fullest rank may take, of an engine started otherwise if named."""
        started = engine or self.engine
        return [s.budget_bytes(started, self.split, self.usable, self.usable) for s in self.stages]


def longest_context(deployment: Deployment, most: int) -> int:
    """Most tokens, up to `most`, of which every data rank holds its sequences; 0 if none."""
    rooms = [
        (stage, budget - stage.largest_fixed_bytes)
        for stage, budget in zip(deployment.stages, deployment.budgets(), strict=True)
    ]

    def fits(tokens: int) -> bool:
        return all(
            deployment.sequences * stage.cache.sequence_bytes(tokens) <= room
            for stage, room in rooms
        )

    return _largest(most, fits)


def smallest_utilization(deployment: Deployment) -> float | None:
    """The least share of each device the engine must be given, in whole per mille.

    None where no share does, or the engine is not given one.
    """
    engine = deployment.engine
    if not engine.takes_utilization:
        return None

    def lacks(share: int) -> bool:
        started = engine.given(share / PER_MILLE)
        held = sequences_held(deployment.stages, deployment.budgets(started))
        return held < deployment.sequences

    share = _largest(PER_MILLE, lacks) + 1
    return share / PER_MILLE if share <= PER_MILLE else None


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest number from 1 to `most` for which `holds`, which fails from some number on."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def largest_stage(stages: Sequence[StageMemory], sequences: int) -> int:
    """The stage whose fullest rank takes most when each data rank holds `sequences`."""
    totals = [s.largest_fixed_bytes + sequences * s.sequence_bytes for s in stages]
    return totals.index(max(totals))
