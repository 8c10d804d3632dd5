"""What every engine answers, with the defaults that plain arithmetic gives.

Which splits are legal, how tensors and caches are divided, what the engine itself takes and
how it is started. An engine overrides where it differs, each difference in its own file with
its source.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import msgspec

from rackfit.architecture.model import ExpertFeedForward
from rackfit.catalog.entries import Accelerator
from rackfit.engines.attending import Attending
from rackfit.engines.cache_layout import merged
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.choice import EngineChoice
from rackfit.engines.dividing import Dividing
from rackfit.engines.hardware import Hardware
from rackfit.engines.holding import Holding
from rackfit.engines.launch import Phase
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import (
    COMMON_PIPELINE_RULES,
    WHOLE_SEQUENCES,
    Rule,
    no_context_parallelism,
    reject,
)
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.starting import Starting
from rackfit.engines.terms import Fixed, Limits, Term, kernels, linked
from rackfit.engines.version import Versioned


def wrapped(first: int, number: int, experts: int) -> tuple[range, ...]:
    """So many experts from `first` on, in runs, from 0 again after the last."""
    runs = []
    while number:
        first %= experts
        run = range(first, min(first + number, experts))
        runs.append(run)
        first, number = run.stop, number - len(run)
    return tuple(runs)


class Engine(Attending, Dividing, Holding, Starting, Versioned, ABC):
    """A serving engine with the options it is started with.

    `block_tokens` is the block its cache is kept in; `batched_tokens` and `sequences` are the
    batch it prepares for where the caller names none; `takes_utilization` tells whether it is
    started with a share of each device, `even_slots` whether expert ranks hold equally many
    experts even without redundant ones, `disaggregates` whether replicas may be of one phase,
    `mixes_accelerators` whether a replica's stages may be on accelerators of several types. One
    that `reads_gguf` reads nothing else. `kernel_tables` is its name in tables of measured kernels,
    and `drafts_from_embedding` tells that a last stage of several drafts from one of its own.

    Args:
        choice: the caller's options; None takes the engine's defaults.
        device_reserve: share of each device kept free where no engine is named.

    Raises:
        InvalidInput: at `/engine/version`, for what is no version of this engine.
    """

    rules: ClassVar[tuple[Rule, ...]] = WHOLE_SEQUENCES
    pipeline_rules: ClassVar[tuple[Rule, ...]] = COMMON_PIPELINE_RULES
    block_tokens: ClassVar[int] = 1
    batched_tokens: ClassVar[int] = 8192
    sequences: ClassVar[int] = 1024
    reads_gguf: ClassVar[bool] = False
    hardware: ClassVar[Hardware]
    takes_utilization: ClassVar[bool] = True
    even_slots: ClassVar[bool] = False
    disaggregates: ClassVar[bool] = True
    mixes_accelerators: ClassVar[bool] = False
    kernel_tables: ClassVar[str | None] = None
    drafts_from_embedding: ClassVar[bool] = False
    slots_source: ClassVar[str] = "(experts + redundant experts) % EP == 0, all engines alike"

    def __init__(self, choice: EngineChoice | None, device_reserve: float) -> None:
        self.choice = choice or EngineChoice(name=self.name)
        self.device_reserve = device_reserve
        self.version = self.read(self.choice.version)

    def given(self, utilization: float) -> Self:
        """This engine with another share of each device."""
        choice = msgspec.structs.replace(self.choice, gpu_memory_utilization=utilization)
        return type(self)(choice, self.device_reserve)

    def rejections(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Yield what of a model cannot be loaded, and every rule that `split` breaks."""
        yield from self.unloadable(model, split)
        yield from self.broken_rules(model, split)

    def broken_rules(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Yield every rule that `split` breaks."""
        for rules in (self.rules, self.pipeline_rules):
            for rule in rules:
                rejection = rule(model, split)
                if rejection is not None:
                    yield rejection
        yield from self._uneven_slots(model, split)
        yield from self._undivided(model, split)

    def _undivided(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        degree = split.decode_context
        if degree == 1:
            return
        possible = self.decode_contexts(model, split.tensor)
        if degree in possible:
            return
        others = f"; {' or '.join(map(str, possible))} would do" if possible else ""
        detail = (
            f"{self.name} does not divide the cache of TP{split.tensor} over {degree} ranks of "
            f"the same rows (decode_context){others}."
        )
        source = "--decode-context-parallel-size: rows that tensor ranks repeat"
        yield reject(split, "degree-unsupported", detail, source, decode_context=degree)

    def undivided_phase(self, model: ServedModel, split: Split, phase: Phase) -> Rejection | None:
        """Why replicas of a phase have no context ranks; None where they have, or none are asked.

        Of an engine that has none in any phase its own rule says so, here too, so that it is told
        before splits are tried.
        """
        if split.context == 1 or phase in self.context_phases:
            return None
        if not self.context_phases:
            return no_context_parallelism(model, split)
        detail = f"context = {split.context}: {self.context_note}"
        return reject(
            split, "degree-unsupported", detail, self.context_source, context=split.context
        )

    def unsupported(
        self, model: ServedModel, split: Split, accelerator: Accelerator
    ) -> Iterator[Rejection]:
        """Yield what of this model the engine cannot hold on such devices."""
        held = self.hardware.at(self.version)
        yield from held.rejections(self.name, model, split, accelerator)
        if held.runs_on(accelerator.generation):
            yield from self.unattended(model, split, accelerator)

    def _uneven_slots(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Slots are spread evenly where the engine insists, and wherever experts are redundant."""
        experts, redundant = model.architecture.experts, self.choice.redundant_experts
        slots = experts.experts + redundant if experts else 0
        if slots % split.expert == 0 or not (self.even_slots or redundant):
            return
        detail = (
            f"{self.name} spreads expert slots evenly: {slots} slots over EP{split.expert} leave "
            f"{slots % split.expert} over; redundant_experts = "
            f"{redundant + -slots % split.expert} would fill them."
        )
        numbers = {"slots": slots, "expert": split.expert, "redundant_experts": redundant}
        yield reject(split, "experts-not-divisible", detail, self.slots_source, **numbers)

    @property
    def adapts_experts(self) -> bool:
        """Whether adapters have slots for routed experts."""
        return False

    def limits(self, accelerator: Accelerator | None, context_tokens: int) -> Limits:
        """The batch prepared for on a device, of an unknown kind where none is named."""
        del context_tokens
        plain = Limits(
            batched_tokens=self.batched_tokens,
            sequences=self.sequences,
            linked=linked(accelerator),
            generation=kernels(accelerator),
        )
        return self.chosen(plain)

    @property
    def batch_cuts(self) -> Sequence[int]:
        """Contexts beyond which the batch prepared for is smaller again than up to there."""
        return ()

    def chosen(self, limits: Limits) -> Limits:
        """The engine's own limits, the caller's where named."""
        return msgspec.structs.replace(
            limits,
            batched_tokens=self.choice.max_batched_tokens or limits.batched_tokens,
            sequences=self.choice.max_sequences or limits.sequences,
        )

    def stage_cache(
        self, model: ServedModel, split: Split, counts: Sequence[int], limits: Limits
    ) -> StageCache:
        """What a stage with `counts` layers of each kind keeps of sequences on one rank."""
        if self.choice.cache_layout == "ideal":
            return self._rows(model, split, counts, 1)
        return self.allocated_cache(model, split, counts, limits)

    def allocated_cache(
        self, model: ServedModel, split: Split, counts: Sequence[int], limits: Limits
    ) -> StageCache:
        """The same as the engine allocates it: rows in whole blocks, if it says nothing else."""
        del limits
        return self._rows(model, split, counts, self.block_tokens)

    @staticmethod
    def _rows(model: ServedModel, split: Split, counts: Sequence[int], block: int) -> StageCache:
        each = model.cache_terms(split.tensor)
        terms = merged(zip(counts, each, strict=True), block)
        return StageCache(terms=terms, block_tokens=block)

    def activation_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
    ) -> tuple[Term, ...]:
        """Peak of activations on one rank of a stage; `first` and `last` tell the ends."""
        del model, split, limits, first, last
        return ()

    def overhead_terms(self, model: ServedModel, split: Split, limits: Limits) -> tuple[Term, ...]:
        """What the engine holds besides weights, cache and activations on one rank."""
        del model, split, limits
        return ()

    def unbudgeted_terms(
        self, model: ServedModel, split: Split, limits: Limits
    ) -> tuple[Term, ...]:
        """What the engine takes after it has sized its cache, out of what its budget leaves."""
        del model, split, limits
        return ()

    @abstractmethod
    def utilization(self, start: Start, free: int) -> float:
        """The share of a device's usable bytes the engine is given, `free` of them being so."""

    def budget_bytes(self, start: Start, free: int, fixed: Fixed) -> int:
        """What a rank may take in all, given all that it takes besides the cache."""
        del fixed
        return int(self.utilization(start, free) * start.usable)

    def most_held(self, start: Start, free: int) -> int:
        """Bytes of weights and cache a rank can hold at most, `free` of its device being so."""
        return min(int(self.utilization(start, free) * start.usable), free)

    def held_experts(
        self, mixture: ExpertFeedForward, split: Split, place: int
    ) -> tuple[range, ...]:
        """The experts that expert rank `place` starts with, in runs.

        Without redundant ones consecutive experts, one more on the first ranks where they do not
        divide; with them slots are filled in order, from the first expert again after the last
        (vLLM EplbState.build_initial_global_physical_to_logical_map, SGLang's trivial location).
        """
        redundant = self.choice.redundant_experts
        if redundant and split.expert > 1:
            held = (mixture.experts + redundant) // split.expert
            return wrapped(place * held, held, mixture.experts)
        few, more = divmod(mixture.experts, split.expert)
        first = place * few + min(place, more)
        return (range(first, first + few + (place < more)),)

    @classmethod
    def expert_placement(
        cls, layers: Sequence[Sequence[int]], experts: int, first_layer: int
    ) -> dict[str, Any] | None:
        """What the engine takes to put experts where `layers` has them, the expert by slot.

        `first_layer` is the model's layer that is the first of them. None: it takes nothing.
        """
        del layers, experts, first_layer
        return None

    def notes(self, split: Split) -> tuple[str, ...]:
        """What a caller should know of a split it names."""
        return (self.context_note,) if self.context_note and split.context > 1 else ()

    def warnings(self) -> tuple[str, ...]:
        """What a caller should know of how this engine is planned for."""
        return self.unknown_version()
