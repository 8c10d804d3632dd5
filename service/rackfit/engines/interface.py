"""What every engine answers, with the defaults that plain arithmetic gives.

Which splits are legal, how tensors and caches are divided, what the engine itself takes and
how it is started. An engine overrides where it differs, each difference in its own file with
its source.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from rackfit.architecture.model import Attention
from rackfit.engines.cache_layout import CacheTerm, layer_terms
from rackfit.engines.choice import EngineChoice
from rackfit.engines.peak import activation_peak
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import COMMON_PIPELINE_RULES, COMMON_RULES, Rule, reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

PLAIN_SCHEMES = ("f32", "bf16", "f16")


class Engine(ABC):
    """A serving engine with the options it is started with.

    `block_tokens` is the block its cache is kept in; `batched_tokens` and `sequences` are the
    batch it prepares for where the caller names none. One that `reads_gguf` reads nothing else.

    Args:
        choice: the caller's options; None takes the engine's defaults.
        device_reserve: share of each device kept free where no engine is named.
    """

    name: ClassVar[str]
    rules: ClassVar[tuple[Rule, ...]] = COMMON_RULES
    pipeline_rules: ClassVar[tuple[Rule, ...]] = COMMON_PIPELINE_RULES
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = (
        "bf16", "f16", "f32", "fp8", "int8", "q8_0", "q4_0", "nvfp4",
    )  # fmt: skip
    block_tokens: ClassVar[int] = 1
    batched_tokens: ClassVar[int] = 8192
    sequences: ClassVar[int] = 1024
    reads_gguf: ClassVar[bool] = False

    def __init__(self, choice: EngineChoice | None, device_reserve: float) -> None:
        self.choice = choice or EngineChoice(name=self.name)
        self.device_reserve = device_reserve

    def rejections(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Yield every rule that `split` breaks."""
        yield from self._unloadable(model, split)
        for rule in (*self.rules, *self.pipeline_rules):
            rejection = rule(model, split)
            if rejection is not None:
                yield rejection

    def _unloadable(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        for scheme in model.used_schemes:
            if not self.loads(scheme.id, scheme.engines):
                detail = f"{self.name} cannot load weights stored as {scheme.name}."
                source = "; ".join(scheme.sources)
                yield reject(split, "scheme-unsupported", detail, source)
        if model.kv_cache_dtype not in self.kv_cache_dtypes:
            detail = (
                f"{self.name} cannot keep its KV cache as {model.kv_cache_dtype}; it can as "
                f"{', '.join(self.kv_cache_dtypes)}."
            )
            yield reject(split, "kv-dtype-unsupported", detail, f"{self.name} documentation")

    def loads(self, scheme: str, engines: list[str]) -> bool:
        """Tell whether this engine loads a scheme."""
        return scheme in PLAIN_SCHEMES or self.name in engines

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """Layers on each pipeline stage; the remainder goes to the first stages."""
        each, more = divmod(layers, stages)
        return tuple(each + (stage < more) for stage in range(stages))

    def feed_forward_parts(self, split: Split) -> int:
        """Into how many parts a dense feed-forward is divided."""
        return split.tensor

    def shared_expert_parts(self, split: Split) -> int:
        """Into how many parts shared experts are divided."""
        return self.feed_forward_parts(split)

    def cache_terms(
        self, model: ServedModel, attention: Attention | None, split: Split
    ) -> tuple[CacheTerm, ...]:
        """What one layer keeps of a sequence on one rank."""
        return layer_terms(
            attention,
            kv_cache_dtype=model.kv_cache_dtype,
            dtype=model.architecture.dtype,
            tensor=split.tensor,
        )

    def computed_bytes(self, model: ServedModel) -> int:
        """What is computed at loading and kept beside the checkpoint's weights on each rank."""
        del model
        return 0

    def activation_bytes(self, model: ServedModel, split: Split, *, last_stage: bool) -> int:
        """Peak of activations on one rank, of as full a batch as the engine prepares for."""
        return activation_peak(
            model,
            split,
            tokens=self.choice.max_batched_tokens or self.batched_tokens,
            sequences=self.choice.max_sequences or self.sequences,
            last_stage=last_stage,
        )

    def overhead_bytes(self, model: ServedModel, split: Split) -> int:
        """What the engine holds besides weights, cache and activations on one rank."""
        del model, split
        return 0

    @abstractmethod
    def utilization(self, usable: int, free: int) -> float:
        """The share of a device's `usable` bytes the engine is given."""

    def budget_bytes(self, usable: int, free: int, *, weights: int, other: int) -> int:
        """What a rank may take in all, given its weights and what is neither they nor cache."""
        del weights, other
        return int(self.utilization(usable, free) * usable)

    def warnings(self) -> tuple[str, ...]:
        """What a caller should know of how this engine is planned for."""
        return ()

    def arguments(self, model: ServedModel, split: Split, utilization: float) -> tuple[str, ...]:
        """The engine's own command-line arguments for this split."""
        del model, split, utilization
        return ()
