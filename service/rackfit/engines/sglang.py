"""SGLang: rules, memory and arguments."""

from typing import ClassVar

from rackfit.engines.interface import Engine
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import COMMON_RULES, Rule, reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

MIB = 1 << 20
DEFAULT_STATIC_SHARE = 0.88  # sglang/srt/server_args.py: mem_fraction_static without other needs
CONTEXT_BYTES = 512 * MIB


def experts_divide(model: ServedModel, split: Split) -> Rejection | None:
    """Routed experts are spread evenly over expert ranks."""
    experts = model.architecture.experts
    if experts is None or experts.experts % split.expert == 0:
        return None
    return reject(
        split,
        "experts-not-divisible",
        f"SGLang spreads experts evenly: {experts.experts} experts over EP{split.expert}.",
        "SGLang FusedMoE: num_experts % moe_ep_size == 0",
        experts=experts.experts,
        expert=split.expert,
    )


class Sglang(Engine):
    """SGLang 0.5; its `--tp` is our tensor x data, its attention DP lies inside."""

    name: ClassVar[str] = "sglang"
    rules: ClassVar[tuple[Rule, ...]] = (*COMMON_RULES, experts_divide)
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "fp8")
    batched_tokens: ClassVar[int] = 8192  # server_args.py: chunked_prefill_size on 80 GB and up
    sequences: ClassVar[int] = 256  # cuda_graph_max_bs: the largest decode batch prepared for

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """The remainder goes to the last stages."""
        return super().partition(layers, stages)[::-1]

    def feed_forward_parts(self, split: Split) -> int:
        """Feed-forwards are divided over all of `--tp`, attention DP lying inside it."""
        return split.tensor * split.data

    def overhead_bytes(self, model: ServedModel, split: Split) -> int:
        """The CUDA context."""
        del model, split
        return CONTEXT_BYTES

    def utilization(self, usable: int, free: int) -> float:
        """`--mem-fraction-static`: weights and cache together, of what is there at start."""
        wanted = self.choice.gpu_memory_utilization or DEFAULT_STATIC_SHARE
        return wanted if free >= wanted * usable else free * 1000 // usable / 1000

    def budget_bytes(self, usable: int, free: int, *, weights: int, other: int) -> int:
        """Weights and cache have the static share; the rest of the device holds the rest."""
        del weights
        return min(int(self.utilization(usable, free) * usable) + other, free)

    def arguments(self, model: ServedModel, split: Split, utilization: float) -> tuple[str, ...]:
        """Arguments of `python -m sglang.launch_server`."""
        arguments = [f"--tp-size={split.tensor * split.data}"]
        if split.pipeline > 1:
            arguments.append(f"--pp-size={split.pipeline}")
        if split.data > 1:
            arguments += [f"--dp-size={split.data}", "--enable-dp-attention"]
        if split.expert > 1:
            arguments.append(f"--ep-size={split.expert}")
        if model.kv_cache_dtype == "fp8":
            arguments.append("--kv-cache-dtype=fp8_e4m3")
        return (*arguments, f"--mem-fraction-static={utilization:g}")
