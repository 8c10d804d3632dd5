"""One split serving one load: time to the first token, time a token, tokens a second."""

from math import ceil
from typing import Protocol

import msgspec

from rackfit.engines.split import Split
from rackfit.performance.efficiency import Applied
from rackfit.performance.forward import Batch, Common
from rackfit.performance.serving import Serving

Partition = tuple[int, ...]
"""Layers on each pipeline stage."""


class Passes(Protocol):
    """What is asked of the forward passes of a split, however their times are found."""

    common: Common
    chunk_tokens: int

    def stage_seconds(self, batch: Batch, partition: Partition) -> float:
        """Seconds the slowest stage of so many layers each takes, handing on included."""

    def draft_seconds(self, batch: Batch) -> float:
        """Seconds of one pass through a multi-token-prediction layer and the head."""


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


class Run:
    """One split serving one load: `sequences` of each data rank pass the stages in turns.

    With p stages the sequences run as p parts, one on each stage; fewer sequences than stages
    leave stages idle (GPipe, 2.1). Passes that read prompts and write tokens run at the lower
    of both efficiencies. `seconds_per_output_token` is of one sequence.
    """

    def __init__(
        self,
        forward: Passes,
        split: Split,
        serving: Serving,
        phases: tuple[Applied, Applied],
        partition: Partition | None,
    ) -> None:
        self._forward = forward
        self._split = split
        self._partition = partition or forward.common.partition(split.pipeline)
        self._serving = serving
        self._prefill, self._decode = phases
        self.seconds_per_output_token = self._step_seconds() / serving.tokens_a_step

    def _step_seconds(self) -> float:
        """Seconds between two steps of a sequence, the reading of others' prompts included.

        While a request is written every other one of the rank is replaced once. Their prompts come
        one after the other, in chunks as large as a pass takes: some passes read one, the others
        none. (Spread over all passes, as on average, prompts would wake most experts in each.)
        """
        serving, pipeline = self._serving, self._split.pipeline
        part = max(serving.sequences / pipeline, 1)
        alone = pipeline * self._pass_seconds(self._writing(part)) / self._decode.factor
        only = serving.phase != "both"
        if only or serving.input_tokens is None or serving.output_tokens is None:
            return alone + self._drafting(part)
        steps = max(serving.output_tokens / serving.tokens_a_step, 1)
        chunks = part * self._chunks
        if chunks > steps:
            return self._crowded_seconds(part, steps) + self._drafting(part)
        both = self._batch(part, self._new / self._chunks)
        reading = pipeline * self._pass_seconds(both) / self._mixed
        share = chunks / steps
        return (1 - share) * alone + share * reading + self._drafting(part)

    def _crowded_seconds(self, part: float, steps: float) -> float:
        """Seconds between two steps where every pass reads, and more than one chunk.

        Where prompts fill more passes than writing takes, they set the pace.
        """
        passes = max(steps, part * self._new / self._forward.chunk_tokens)
        mixed = self._batch(part * steps / passes, part * self._new / passes)
        seconds = self._split.pipeline * self._pass_seconds(mixed) / self._mixed
        return passes / steps * seconds

    def _pass_seconds(self, batch: Batch) -> float:
        return self._forward.stage_seconds(batch, self._partition)

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
        return self._serving.sequences * split.data * split.replicas / self.seconds_per_output_token

    @property
    def seconds_to_first_token(self) -> float:
        """Seconds to read a prompt through all stages, the other sequences riding along.

        Chunks follow each other through the stages; the first waits for none, and a full one
        sets the pace until the last has passed them all.
        """
        pipeline = self._split.pipeline
        others = (self._serving.sequences - 1) / pipeline
        chunk = self._batch(others, self._new / self._chunks)
        seconds = self._chunks * self._forward.stage_seconds(chunk, self._partition)
        if pipeline > 1:
            length = min(self._new, self._forward.chunk_tokens)
            full = msgspec.structs.replace(chunk, new=length, end=self._serving.prompt)
            seconds += (pipeline - 1) * self._forward.stage_seconds(full, self._partition)
        return seconds / (self._mixed if others else self._prefill.factor)

    @property
    def prompts_per_second(self) -> float:
        """Prompts a second of all replicas that read and do not write: each stage has one."""
        split = self._split
        chunk = self._batch(0, self._new / self._chunks)
        seconds = self._chunks * self._forward.stage_seconds(chunk, self._partition)
        return split.data * split.replicas * self._prefill.factor / seconds

    def estimate(self) -> Estimate:
        """All of it, with bands."""
        decode, prefill, split = self._decode, self._prefill, self._split
        rate, each = self.tokens_per_second, self.seconds_per_output_token
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
