"""How fast a split serves: time to the first token, time a token, tokens a second."""

from collections.abc import Sequence
from math import ceil

import msgspec

from rackfit.catalog.entries import Accelerator, Efficiency
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.performance.efficiency import Applied, applied
from rackfit.performance.forward import Batch, Common, Forward

ACCEPTANCE = 0.85
"""Chance that a drafted token is accepted (DeepSeek-V3 report, 5.4.3: 85 to 90 %)."""


class Serving(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one data rank serves: `sequences` at once, of `context_tokens` tokens.

    With both `input_tokens` and `output_tokens`, requests of that size follow each other: steps
    are shared by prompts being read and sequences being written, whose context grows from input
    to input + output. `prefix_hit` is the share of prompts found in the cache, `acceptance` the
    chance that a drafted token is right, `speculative_tokens` how many are drafted a step.
    """

    sequences: int
    context_tokens: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    prefix_hit: float = 0.0
    speculative_tokens: int = 0
    acceptance: float = ACCEPTANCE

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
        self, model: ServedModel, engine: Engine, fitted: Sequence[Efficiency], context_tokens: int
    ) -> None:
        self._common = Common(model, engine)
        self._fitted = fitted
        self._context_tokens = context_tokens
        self._forwards: dict[tuple[str, int, int, int, int], Forward] = {}
        self._applied: dict[str, tuple[Applied, Applied]] = {}

    def rates(self, split: Split, accelerator: Accelerator, serving: Serving) -> Rates | None:
        """The rates of a split; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving)
        return None if run is None else Rates(run.seconds_a_token, run.tokens_per_second)

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
        degrees = (split.tensor, split.data, split.expert, split.context)
        key = (accelerator.id, *degrees)
        if key not in self._forwards:
            self._forwards[key] = Forward(self._common, split, accelerator, self._context_tokens)
        return self._forwards[key]


class _Run:
    """One split serving one load: `sequences` of each data rank pass the stages in turns.

    With p stages the sequences run as p parts, one on each stage; fewer sequences than stages
    leave stages idle. Source: GPipe, 2.1, the bubble of p - 1 stages.
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
        self._decoding = Batch(
            decoding=max(serving.sequences / split.pipeline, 1),
            context=serving.decode_context,
            positions=serving.speculative_tokens + 1,
        )
        self._step = self._step_seconds()
        self.seconds_a_token = (self._step + self._reading()) / serving.tokens_a_step

    def _step_seconds(self) -> float:
        """Seconds between two steps of a sequence that no prompt disturbs."""
        serving, pipeline = self._serving, self._split.pipeline
        seconds = pipeline * self._forward.stage_seconds(self._decoding, pipeline)
        if serving.speculative_tokens:
            whole = msgspec.structs.replace(self._decoding, decoding=serving.sequences)
            seconds += serving.speculative_tokens * self._forward.draft_seconds(whole)
        return seconds / self._decode.factor

    def _reading(self) -> float:
        """Seconds a step spends on others' prompts, on average.

        While a request is written every other one of the rank is replaced once, so `sequences`
        prompts are read in as many steps as it takes.
        """
        serving = self._serving
        if serving.input_tokens is None or serving.output_tokens is None:
            return 0.0
        steps = max(serving.output_tokens / serving.tokens_a_step, 1)
        return self._chunks * self._chunk() * serving.sequences / steps

    @property
    def _new(self) -> float:
        """Tokens of a prompt that are not found in the cache; the last one never is."""
        prompt = self._serving.prompt
        return max(prompt * (1 - self._serving.prefix_hit), 1)

    @property
    def _chunks(self) -> int:
        """Passes a prompt is read in, at most as many tokens each as the engine batches."""
        return ceil(self._new / self._forward.chunk_tokens)

    def _chunk(self) -> float:
        """Seconds a chunk of a prompt adds to a stage's pass, on average over the chunks."""
        decoding, pipeline = self._decoding, self._split.pipeline
        new, prompt = self._new, self._serving.prompt
        length = new / self._chunks
        mixed = msgspec.structs.replace(
            decoding, prompts=1, new=length, end=prompt - (new - length) / 2
        )
        alone = self._forward.stage_seconds(decoding, pipeline)
        return (self._forward.stage_seconds(mixed, pipeline) - alone) / self._prefill.factor

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second of all replicas."""
        split = self._split
        return self._serving.sequences * split.data * split.replicas / self.seconds_a_token

    @property
    def seconds_to_first_token(self) -> float:
        """Seconds to read a prompt through all stages, decoding sequences riding along."""
        pipeline = self._split.pipeline
        passes = self._chunks + pipeline - 1
        return passes * (self._chunk() + self._step / pipeline)

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
