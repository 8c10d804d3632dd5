"""The questions turned round: how long, how many, and with how little of each device."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.interface import Engine
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Limits
from rackfit.lazy import cached_property
from rackfit.memory.ranks import RankSizes
from rackfit.memory.stages import StageMemory, sequences_held, stage_memories

PER_MILLE = 1000


class Deployment(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The stages of a split on alike accelerators, and what each data rank serves.

    `partition` says how many layers each stage has.
    Each accelerator has `free` bytes, all that an engine sees where it is left out.
    """

    sizes: RankSizes
    split: Split
    partition: tuple[int, ...]
    stages: tuple[StageMemory, ...]
    accelerator: Accelerator
    sequences: int
    context_tokens: int
    free: int | None = None

    @cached_property
    def budgets(self) -> list[int]:
        """What each stage's fullest rank may take."""
        return self.budgets_of(self.sizes.engine, self.stages, self.context_tokens)

    def budgets_of(self, engine: Engine, stages: Sequence[StageMemory], tokens: int) -> list[int]:
        """The same of an engine started otherwise, with the stages it then has."""
        start = Start(self.sizes.model, self.accelerator, self.split, tokens)
        free = start.usable if self.free is None else self.free
        return [stage.budget_bytes(engine, start, free) for stage in stages]

    def rooms(self, tokens: int) -> list[tuple[StageMemory, int]]:
        """What each stage's budget leaves for sequences of so many tokens."""
        engine = self.sizes.engine
        limits = engine.limits(self.accelerator, tokens)
        stages = self._stages.get(limits)
        if stages is None:
            sizes = self.sizes.preparing(limits)
            stages = stage_memories(sizes, self.split, tokens, self.partition)
            self._stages[limits] = stages
        budgets = self.budgets_of(engine, stages, tokens)
        return [(s, b - s.largest_fixed_bytes) for s, b in zip(stages, budgets, strict=True)]

    @cached_property
    def _stages(self) -> dict[Limits, tuple[StageMemory, ...]]:
        """Stages by the batch that the engine prepares for."""
        return {self.sizes.limits: self.stages}


def longest_context(deployment: Deployment, most: int) -> int:
    """Most tokens, up to `most`, of which every data rank holds its sequences; 0 if none.

    Where the batch an engine prepares for follows the context, it is that of the context found.
    """
    each = deployment.sequences

    def fits(tokens: int) -> bool:
        rooms = deployment.rooms(tokens)
        return all(each * stage.cache.sequence_bytes(tokens) <= room for stage, room in rooms)

    guess = _guess(deployment, most)
    for before, last in _spans(deployment.sizes.engine, most):
        longest = before + _largest_after(before, last, fits, guess)
        if longest > before:
            return longest
    return 0


def _spans(engine: Engine, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of contexts, longest first, in each of which a longer one takes no less."""
    last = most
    for cut in sorted(engine.batch_cuts, reverse=True):
        if cut < last:
            yield cut, last
            last = cut
    yield 0, last


def _largest_after(before: int, last: int, fits: Callable[[int], bool], guess: int) -> int:
    return largest_that(last - before, lambda more: fits(before + more), guess - before)


def _guess(deployment: Deployment, most: int) -> int:
    """About the longest context, from the room that the one asked for leaves."""
    rooms = deployment.rooms(deployment.context_tokens)
    growing = [(s, room) for s, room in rooms if s.cache.whole_bytes_per_token]
    each = deployment.sequences
    guesses = (
        (room - each * stage.sequence_bytes) // (each * stage.cache.whole_bytes_per_token)
        for stage, room in growing
    )
    asked = deployment.context_tokens
    guess = asked + min(guesses, default=most - asked)
    return guess - guess % max(stage.cache.block_tokens for stage, _ in rooms)


def smallest_utilization(deployment: Deployment, most: int = PER_MILLE) -> int | None:
    """The least share of each device the engine must be given, in per mille.

    None where no share up to `most` per mille does, or the engine is not given one.
    """
    engine, stages = deployment.sizes.engine, deployment.stages
    if not engine.takes_utilization:
        return None

    def budgets(share: int) -> list[int]:
        started = engine.given(share / PER_MILLE)
        return deployment.budgets_of(started, stages, deployment.context_tokens)

    def lacks(share: int) -> bool:
        return sequences_held(stages, budgets(share)) < deployment.sequences

    if lacks(most):
        return None
    needed = [s.largest_fixed_bytes + deployment.sequences * s.sequence_bytes for s in stages]
    shares = map(_line, needed, budgets(1), budgets(PER_MILLE))
    return largest_that(most, lacks, max(shares) - 1) + 1


def _line(needed: int, least: int, most: int) -> int:
    """Where a budget that grows evenly from 1 to 1,000 per mille is what is needed."""
    return 1 + -(-(needed - least) * (PER_MILLE - 1) // max(most - least, 1))


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
