"""vLLM: rules, memory and arguments."""

from typing import ClassVar

from rackfit.engines.cache_layout import PLAIN_BYTES
from rackfit.engines.interface import Engine
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import COMMON_RULES, Rule, reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

MIB = 1 << 20
DEFAULT_UTILIZATION = 0.9  # vllm/config/cache.py: gpu_memory_utilization
NON_TORCH_BYTES = {1: 256 * MIB, 2: 2120 * MIB}
"""CUDA context at TP1; NCCL and the custom all-reduce's buffers from TP2 (0.19 on H100)."""


def expert_parallel_or_not(model: ServedModel, split: Split) -> Rejection | None:
    """Experts are divided whole over all tensor x data ranks, or each over all of them."""
    group = split.tensor * split.data
    if split.expert in (1, group) or model.architecture.experts is None:
        return None
    return reject(
        split,
        "mixed-expert-parallelism",
        f"vLLM has EP1 or EP{group} (tensor x data) here, nothing between.",
        "vLLM FusedMoEParallelConfig.make: ep_size = dp_size * tp_size",
        expert=split.expert,
        group=group,
    )


class Vllm(Engine):
    """vLLM 0.19 and later."""

    name: ClassVar[str] = "vllm"
    rules: ClassVar[tuple[Rule, ...]] = (*COMMON_RULES, expert_parallel_or_not)
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "f32", "fp8")
    block_tokens: ClassVar[int] = 16
    batched_tokens: ClassVar[int] = 8192  # vllm/engine/arg_utils.py, on 80 GB and up
    sequences: ClassVar[int] = 1024  # the same

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """The remainder goes backwards from the last stage but one (vLLM get_pp_indices)."""
        each, more = divmod(layers, stages)
        first_larger = stages - 1 - more
        return tuple(each + (first_larger <= stage < stages - 1) for stage in range(stages))

    def shared_expert_parts(self, split: Split) -> int:
        """Whole on every rank once experts are exchanged between data ranks.

        vLLM ParallelConfig.use_sequence_parallel_moe, DeepseekV2MLP(disable_tp=...).
        """
        exchanged = split.expert > 1 and split.data > 1
        return 1 if exchanged else split.tensor

    def computed_bytes(self, model: ServedModel) -> int:
        """One table of cosines and sines for each distinct rotary embedding.

        vLLM RotaryEmbedding._compute_cos_sin_cache: positions x rotary dimension, in the
        model's type.
        """
        element = PLAIN_BYTES[model.architecture.dtype]
        return sum(r.positions * r.width * element for r in model.architecture.rotaries)

    def overhead_bytes(self, model: ServedModel, split: Split) -> int:
        """Memory outside PyTorch's allocator."""
        del model
        return NON_TORCH_BYTES[min(split.tensor, 2)]

    def utilization(self, usable: int, free: int) -> float:
        """The caller's share of the total, lowered to what is free (in whole per mille)."""
        wanted = self.choice.gpu_memory_utilization or DEFAULT_UTILIZATION
        return wanted if free >= wanted * usable else free * 1000 // usable / 1000

    def arguments(self, model: ServedModel, split: Split, utilization: float) -> tuple[str, ...]:
        """Arguments of `vllm serve`."""
        arguments = [f"--tensor-parallel-size={split.tensor}"]
        if split.pipeline > 1:
            arguments.append(f"--pipeline-parallel-size={split.pipeline}")
        if split.data > 1:
            arguments.append(f"--data-parallel-size={split.data}")
        if split.expert > 1:
            arguments.append("--enable-expert-parallel")
        if model.kv_cache_dtype == "fp8":
            arguments.append("--kv-cache-dtype=fp8")
        return (*arguments, f"--gpu-memory-utilization={utilization:g}")
