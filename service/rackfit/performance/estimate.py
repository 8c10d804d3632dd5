"""How fast a split serves: time to the first token, time a token, tokens a second."""

from collections.abc import Sequence
from math import ceil
from typing import Self

import msgspec

from rackfit.catalog.entries import Accelerator, Efficiency
from rackfit.engines.interface import Engine
from rackfit.engines.launch import Phase
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.memory.question import Workload
from rackfit.performance.efficiency import Applied, applied
from rackfit.performance.forward import Batch, Common, Forward
from rackfit.performance.layers import Measured

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


class Band(msgspec.Struct, frozen=True, gc=False):
    """An estimate, and what one measured point in ten falls below and exceeds."""

    value: float
    low: float
    high: float


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The speed of a whole deployment; seconds are as one user sees them.

    `basis` says what the efficiencies of both phases rest on.
    """

    seconds_to_first_token: Band
    seconds_per_output_token: Band
    tokens_per_second: Band
    tokens_per_second_per_user: float
    tokens_per_second_per_replica: float
    tokens_per_second_per_accelerator: float
    basis: str


class Rates(msgspec.Struct, frozen=True, gc=False):
    """What ranks plans: seconds a token of one sequence, and tokens a second of all replicas."""

    seconds_per_output_token: float
    tokens_per_second: float


class Speeds:
    """Speeds of one model under one engine; what splits have in common is worked out once."""

    def __init__(
        self,
        model: ServedModel,
        engine: Engine,
        fitted: Sequence[Efficiency],
        context_tokens: int,
        measured: Measured | None = None,
    ) -> None:
        self._common = Common(model, engine, measured)
        self._fitted = fitted
        self._context_tokens = context_tokens
        self._forwards: dict[tuple[str, int, int, int, int, int], Forward] = {}
        self._applied: dict[str, tuple[Applied, Applied]] = {}

    def rates(self, split: Split, accelerator: Accelerator, serving: Serving) -> Rates | None:
        """The rates of a split; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving)
        return None if run is None else Rates(run.seconds_a_token, run.tokens_per_second)

    def seconds_to_first_token(
        self, split: Split, accelerator: Accelerator, serving: Serving
    ) -> float | None:
        """Seconds to read a prompt; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving)
        return None if run is None else run.seconds_to_first_token

    def prompts_per_second(
        self, split: Split, accelerator: Accelerator, serving: Serving
    ) -> float | None:
        """Prompts read a second, nothing else; None where the bandwidth is not known."""
        run = self._run(split, accelerator, serving)
        return None if run is None else run.prompts_per_second

    def estimate(self, split: Split, accelerator: Accelerator, serving: Serving) -> Estimate | None:
        """The speed of a split; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving)
        return None if run is None else run.estimate()

    def _run(self, split: Split, accelerator: Accelerator, serving: Serving) -> "_Run | None":
        if not accelerator.memory_bandwidth:
            return None
        generation = accelerator.generation
        if generation not in self._applied:
            name, fitted = self._common.engine.name, self._fitted
            self._applied[generation] = (
                applied(fitted, name, generation, "prefill"),
                applied(fitted, name, generation, "decode"),
            )
        return _Run(self._forward(split, accelerator), split, serving, self._applied[generation])

    def _forward(self, split: Split, accelerator: Accelerator) -> Forward:
        degrees = (split.tensor, split.data, split.expert, split.context, split.decode_context)
        key = (accelerator.id, *degrees)
        if key not in self._forwards:
            self._forwards[key] = Forward(self._common, split, accelerator, self._context_tokens)
        return self._forwards[key]


class _Run:
    """One split serving one load: `sequences` of each data rank pass the stages in turns.

    With p stages the sequences run as p parts, one on each stage; fewer sequences than stages
    leave stages idle (GPipe, 2.1). Passes that read prompts and write tokens run at the lower
    of both efficiencies.
    """

    def __init__(
        self,
        forward: Forward,
        split: Split,
        serving: Serving,
        phases: tuple[Applied, Applied],
    ) -> None:
        self._forward = forward
        self._split = split
        self._serving = serving
        self._prefill, self._decode = phases
        self.seconds_a_token = self._step_seconds() / serving.tokens_a_step

    def _step_seconds(self) -> float:
        """Seconds between two steps of a sequence, the reading of others' prompts included.

        While a request is written every other one of the rank is replaced once. Where prompts
        fill more passes than writing takes, they set the pace.
        """
        serving, pipeline = self._serving, self._split.pipeline
        part = max(serving.sequences / pipeline, 1)
        alone = serving.phase != "both"
        if alone or serving.input_tokens is None or serving.output_tokens is None:
            seconds = self._forward.stage_seconds(self._writing(part), pipeline)
            return pipeline * seconds / self._decode.factor + self._drafting(part)
        steps = max(serving.output_tokens / serving.tokens_a_step, 1)
        passes = max(steps, part * self._new / self._forward.chunk_tokens)
        mixed = self._batch(part * steps / passes, part * self._new / passes)
        seconds = pipeline * self._forward.stage_seconds(mixed, pipeline) / self._mixed
        return passes / steps * seconds + self._drafting(part)

    def _writing(self, decoding: float) -> Batch:
        """A pass with so many sequences to write and no prompt."""
        serving = self._serving
        return Batch(
            decoding=decoding,
            context=serving.decode_context,
            positions=serving.speculative_tokens + 1,
        )

    def _batch(self, decoding: float, prompt_tokens: float) -> Batch:
        """A pass with so many sequences to write and so many tokens of prompts to read.

        Prompts come in equal chunks; their mean context is that of all of them.
        """
        new = self._new
        length = new / self._chunks
        return msgspec.structs.replace(
            self._writing(decoding),
            prompts=prompt_tokens / length,
            new=length,
            end=self._serving.prompt - (new - length) / 2,
        )

    def _drafting(self, part: float) -> float:
        """Seconds a step spends on drafting, one multi-token-prediction pass a token."""
        drafted = self._serving.speculative_tokens
        if not drafted:
            return 0.0
        whole = self._writing(part * self._split.pipeline)
        return drafted * self._forward.draft_seconds(whole) / self._decode.factor

    @property
    def _mixed(self) -> float:
        return min(self._prefill.factor, self._decode.factor)

    @property
    def _new(self) -> float:
        """Tokens of a prompt that are not found in the cache; the last one never is."""
        prompt = self._serving.prompt
        return max(prompt * (1 - self._serving.prefix_hit), 1)

    @property
    def _chunks(self) -> int:
        """Passes a prompt is read in, at most as many tokens each as the engine batches."""
        return ceil(self._new / self._forward.chunk_tokens)

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second of all replicas."""
        split = self._split
        return self._serving.sequences * split.data * split.replicas / self.seconds_a_token

    @property
    def seconds_to_first_token(self) -> float:
        """Seconds to read a prompt through all stages, the other sequences riding along.

        Chunks follow each other through the stages; the first waits for none, and a full one
        sets the pace until the last has passed them all.
        """
        pipeline = self._split.pipeline
        others = (self._serving.sequences - 1) / pipeline
        chunk = self._batch(others, self._new / self._chunks)
        seconds = self._chunks * self._forward.stage_seconds(chunk, pipeline)
        if pipeline > 1:
            length = min(self._new, self._forward.chunk_tokens)
            full = msgspec.structs.replace(chunk, new=length, end=self._serving.prompt)
            seconds += (pipeline - 1) * self._forward.stage_seconds(full, pipeline)
        return seconds / (self._mixed if others else self._prefill.factor)

    @property
    def prompts_per_second(self) -> float:
        """Prompts a second of all replicas that read and do not write: each stage has one."""
        split = self._split
        chunk = self._batch(0, self._new / self._chunks)
        seconds = self._chunks * self._forward.stage_seconds(chunk, split.pipeline)
        return split.data * split.replicas * self._prefill.factor / seconds

    def estimate(self) -> Estimate:
        """All of it, with bands."""
        decode, prefill, split = self._decode, self._prefill, self._split
        rate, each = self.tokens_per_second, self.seconds_a_token
        first = self.seconds_to_first_token
        return Estimate(
            seconds_to_first_token=Band(first, first * prefill.low, first * prefill.high),
            seconds_per_output_token=Band(each, each * decode.low, each * decode.high),
            tokens_per_second=Band(rate, rate / decode.high, rate / decode.low),
            tokens_per_second_per_user=1 / each,
            tokens_per_second_per_replica=rate / split.replicas,
            tokens_per_second_per_accelerator=rate / split.devices,
            basis=f"prefill: {prefill.basis}; decode: {decode.basis}",
        )
