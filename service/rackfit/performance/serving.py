"""What one data rank serves: how many requests of which size, and which phase of them."""

from typing import Self

import msgspec

from rackfit.engines.launch import Phase
from rackfit.memory.question import Workload

ACCEPTANCE = 0.85
"""Chance that a drafted token is accepted (DeepSeek-V3 report, 5.4.3: 85 to 90 %)."""


class Serving(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one data rank serves: `sequences` at once, of `context_tokens` tokens.

    With both `input_tokens` and `output_tokens`, requests of that size follow each other: steps
    are shared by prompts being read and sequences being written, whose context grows from input
    to input + output. `prefix_hit` is the share of prompts found in the cache, `acceptance` the
    chance that a drafted token is right, `speculative_tokens` how many are drafted a step. A
    `phase` served alone is not held up by the other.
    """

    sequences: int
    context_tokens: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    prefix_hit: float = 0.0
    speculative_tokens: int = 0
    acceptance: float = ACCEPTANCE
    phase: Phase = "both"

    @classmethod
    def of(
        cls, workload: Workload, sequences: int, speculative_tokens: int, phase: Phase = "both"
    ) -> Self:
        """What a data rank serves of a deployment's workload."""
        accepted = workload.draft_acceptance
        return cls(
            sequences=sequences,
            context_tokens=workload.context_tokens,
            input_tokens=workload.input_tokens,
            output_tokens=workload.output_tokens,
            prefix_hit=workload.prefix_hit,
            speculative_tokens=speculative_tokens,
            acceptance=ACCEPTANCE if accepted is None else accepted,
            phase=phase,
        )

    @property
    def prompt(self) -> int:
        """Tokens of a prompt; where none are named the whole context is one."""
        return self.input_tokens or max(self.context_tokens - (self.output_tokens or 0), 1)

    @property
    def decode_context(self) -> float:
        """Tokens a sequence has while it is written, on average."""
        if self.input_tokens is None or self.output_tokens is None:
            return self.context_tokens
        return self.input_tokens + self.output_tokens / 2

    @property
    def tokens_a_step(self) -> float:
        """Tokens a sequence gains by a step: its own, and drafted ones up to the first wrong."""
        if not self.speculative_tokens:
            return 1.0
        return sum(self.acceptance**drafted for drafted in range(self.speculative_tokens + 1))
