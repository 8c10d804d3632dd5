"""The questions turned round: how long, how many, and with how little of each device."""

from collections.abc import Callable, Sequence

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.lazy import cached_property
from rackfit.memory.stages import StageMemory, sequences_held

PER_MILLE = 1000


class Deployment(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One engine's stages on devices of `usable` bytes, and what each data rank serves."""

    engine: Engine
    model: ServedModel
    split: Split
    stages: tuple[StageMemory, ...]
    usable: int
    sequences: int
    context_tokens: int

    @cached_property
    def budgets(self) -> list[int]:
        """What each stage's fullest rank may take."""
        return self.budgets_of(self.engine)

    def budgets_of(self, engine: Engine) -> list[int]:
        """The same of an engine started otherwise."""
        model, split, usable = self.model, self.split, self.usable
        return [s.budget_bytes(engine, model, split, usable, usable) for s in self.stages]


def longest_context(deployment: Deployment, most: int) -> int:
    """Most tokens, up to `most`, of which every data rank holds its sequences; 0 if none."""
    rooms = [
        (stage, budget - stage.largest_fixed_bytes)
        for stage, budget in zip(deployment.stages, deployment.budgets, strict=True)
    ]

    def fits(tokens: int) -> bool:
        return all(
            deployment.sequences * stage.cache.sequence_bytes(tokens) <= room
            for stage, room in rooms
        )

    growing = [(s, room) for s, room in rooms if s.cache.whole_bytes_per_token]
    each = deployment.sequences
    guesses = (
        (room - each * stage.sequence_bytes) // (each * stage.cache.whole_bytes_per_token)
        for stage, room in growing
    )
    asked = deployment.context_tokens
    return largest_that(most, fits, asked + min(guesses, default=most - asked))


def smallest_utilization(deployment: Deployment) -> float | None:
    """The least share of each device the engine must be given, in whole per mille.

    None where no share does, or the engine is not given one.
    """
    engine = deployment.engine
    if not engine.takes_utilization:
        return None

    def lacks(share: int) -> bool:
        started = engine.given(share / PER_MILLE)
        held = sequences_held(deployment.stages, deployment.budgets_of(started))
        return held < deployment.sequences

    totals = [
        s.largest_fixed_bytes + deployment.sequences * s.sequence_bytes for s in deployment.stages
    ]
    guess = max(totals) * PER_MILLE // deployment.usable
    share = largest_that(PER_MILLE, lacks, guess) + 1
    return share / PER_MILLE if share <= PER_MILLE else None


def largest_that(most: int, holds: Callable[[int], bool], guess: int) -> int:
    """The largest number from 1 to `most` for which `holds`, which fails from some number on.

    Looked for around `guess` first, then by halves.
    """
    low, high, step = 0, most + 1, 1
    middle = min(max(guess, 1), most)
    while high - low > 1:
        if holds(middle):
            low = middle
            middle = min(middle + step, (low + high + 1) // 2, high - 1)
        else:
            high = middle
            middle = max(middle - step, (low + high) // 2, low + 1)
        step *= 2
    return low


def largest_stage(stages: Sequence[StageMemory], sequences: int) -> int:
    """The stage whose fullest rank takes most when each data rank holds `sequences`."""
    totals = [s.largest_fixed_bytes + sequences * s.sequence_bytes for s in stages]
    return totals.index(max(totals))
