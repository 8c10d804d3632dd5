"""llama.cpp: whole layers on each device, GGUF weights."""

from typing import ClassVar

from rackfit.engines.interface import Engine
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import COMMON_RULES, Rule, reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

MIB = 1 << 20
FIT_MARGIN_BYTES = 1024 * MIB  # common/arg.cpp --fit-target: kept free on each device
DEFAULT_UBATCH_TOKENS = 512  # common.h n_ubatch
F32_BYTES = 4


def layers_only(_model: ServedModel, split: Split) -> Rejection | None:
    """Devices take whole layers; nothing is divided within a layer."""
    if split.tensor * split.data * split.expert == 1:
        return None
    return reject(
        split,
        "degree-unsupported",
        "llama.cpp is planned with --split-mode layer: pipeline stages alone.",
        "llama.cpp --split-mode layer",
        tensor=split.tensor,
        data=split.data,
        expert=split.expert,
    )


class LlamaCpp(Engine):
    """llama.cpp's server with its layers on several devices."""

    name: ClassVar[str] = "llama.cpp"
    reads_gguf: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = (layers_only, *COMMON_RULES)
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("f16", "bf16", "f32", "q8_0", "q4_0")

    def activation_bytes(self, model: ServedModel, split: Split, *, last_stage: bool) -> int:
        """The compute buffer: f32 logits and states of one micro-batch."""
        del split
        tokens = self.choice.max_batched_tokens or DEFAULT_UBATCH_TOKENS
        width = 4 * model.architecture.hidden_size
        logits = model.architecture.vocabulary_size if last_stage else 0
        return tokens * (width + logits) * F32_BYTES

    def utilization(self, usable: int, free: int) -> float:
        """All but the margin that llama.cpp keeps when it fits a model to a device."""
        return max(min(usable, free) - FIT_MARGIN_BYTES, 0) / usable

    def arguments(self, model: ServedModel, split: Split, utilization: float) -> tuple[str, ...]:
        """Arguments of `llama-server`."""
        del utilization
        cache = f"--cache-type-k={model.kv_cache_dtype}", f"--cache-type-v={model.kv_cache_dtype}"
        layers = self.partition(len(model.order), split.pipeline)
        shares = "--tensor-split=" + ",".join(str(count) for count in layers)
        return ("--n-gpu-layers=999", "--split-mode=layer", shares, *cache)
