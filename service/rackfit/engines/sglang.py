"""SGLang: rules, memory and arguments."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.cache_layout import CacheTerm
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.interface import Engine
from rackfit.engines.peak import peak_terms
from rackfit.engines.rules import COMMON_RULES, Rule
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Fixed, Limits, Term, linked
from rackfit.engines.torch_memory import allocated_bytes

MIB = 1 << 20
GIB = 1 << 30

TIERS = (
    (20 * GIB, 2048, 8, 8),
    (35 * GIB, 2048, 24, 80),
    (60 * GIB, 4096, 32, 160),
    (160 * GIB, 8192, 256, 512),
    (1 << 62, 16384, 512, 512),
)
"""By memory: chunked prefill size, largest batch of a CUDA graph below TP4 and from it.

Source: sglang/srt/server_args.py, _handle_gpu_memory_settings.
"""

WIDE = 4
"""Tensor ranks from which graphs are captured for larger batches."""

SLIDING_SHARE = Fraction(4, 5)
"""Tokens the pool of sliding layers holds for each token of the full ones (0.8 by default).

Source: sglang/srt/server_args.py, swa_full_tokens_ratio.
"""

BEFORE_LOADING = {1: 0.5, 2: 1.9}
"""GiB taken before weights are loaded, by ranks: CUDA context and collectives.

A log on eight H200 leaves 137.9 of 139.8 GiB; one rank has no collectives.
"""


class Sglang(Engine):
    """SGLang 0.5; its `--tp` is our tensor x data, its attention DP lies inside."""

    name: ClassVar[str] = "sglang"
    rules: ClassVar[tuple[Rule, ...]] = COMMON_RULES
    even_slots: ClassVar[bool] = True
    slots_source: ClassVar[str] = "SGLang FusedMoE: num_experts % moe_ep_size == 0"
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "fp8")

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """The remainder goes to the last stages."""
        return super().partition(layers, stages)[::-1]

    def feed_forward_parts(self, split: Split) -> int:
        """Feed-forwards are divided over all of `--tp`, attention DP lying inside it."""
        return split.tensor * split.data

    def allocated_bytes(self, size: int) -> int:
        """As PyTorch's allocator rounds it."""
        return allocated_bytes(size)

    def vision_parts(self, split: Split) -> int:
        """Towers are divided as attention is."""
        return split.tensor

    def limits(self, accelerator: Accelerator | None, context_tokens: int) -> Limits:
        """Chunk and graph sizes by the device's memory."""
        del context_tokens
        usable = 80 * GIB if accelerator is None else accelerator.usable_bytes
        _, chunk, graphs, _ = _tier(usable)
        return self.chosen(
            Limits(
                batched_tokens=chunk,
                sequences=graphs,
                linked=linked(accelerator),
                generation=accelerator.generation if accelerator else "",
            )
        )

    def stage_cache(
        self, model: ServedModel, split: Split, counts: Sequence[int], limits: Limits
    ) -> StageCache:
        """Sliding layers have a pool of their own, a fixed share of the others' tokens."""
        cache = super().stage_cache(model, split, counts, limits)
        if not any(term.window is None and term.row_bytes for term in cache.terms):
            return cache
        terms = tuple(term if term.window is None else _pooled(term) for term in cache.terms)
        return msgspec.structs.replace(cache, terms=terms)

    def activation_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
    ) -> tuple[Term, ...]:
        """The forward pass of a chunk, or the sampler of a batch."""
        del first
        return peak_terms(model, split, limits, last=last)

    def overhead_terms(self, model: ServedModel, split: Split, limits: Limits) -> tuple[Term, ...]:
        """What is taken before weights are loaded."""
        del model, limits
        size = BEFORE_LOADING[min(split.tensor * split.data, 2)] * GIB
        return (Term("CUDA context and collectives", int(size), 0.3, "start-up logs"),)

    def utilization(self, usable: int, free: int, split: Split) -> float:
        """`--mem-fraction-static`: weights and cache together, of what is there at start."""
        del free
        return self.choice.gpu_memory_utilization or _static_share(usable, split)

    def budget_bytes(self, usable: int, free: int, split: Split, fixed: Fixed) -> int:
        """Weights and cache have the static share; the rest of the device holds the rest."""
        there = min(usable, free) - fixed.overhead
        static = int(self.utilization(usable, free, split) * there)
        return min(static + fixed.activation + fixed.overhead, free)

    @classmethod
    def expert_placement(
        cls, layers: Sequence[Sequence[int]], experts: int, first_layer: int
    ) -> dict[str, Any]:
        """The file for `--init-expert-location`: every layer of the model, dense ones too.

        Source: sglang/srt/eplb/expert_location.py, compute_initial_expert_location_metadata.
        """
        dense = [slot % experts for slot in range(len(layers[0]))]
        return {"physical_to_logical_map": [*[dense] * first_layer, *map(list, layers)]}

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


def _tier(usable: int) -> tuple[int, int, int, int]:
    return next(tier for tier in TIERS if usable < tier[0])


def _static_share(usable: int, split: Split) -> float:
    """The share left beside what SGLang sets apart, in whole per mille.

    server_args.py: 512 MiB, 1.5 a token of a chunk, 2 a sequence of a graph, 1,024 for every
    eight ranks, and 3 a sequence and rank of attention DP.
    """
    _, chunk, narrow, wide = _tier(usable)
    ranks = split.tensor * split.data
    graphs = narrow if ranks < WIDE else wide
    reserved = 512 + chunk * 1.5 + graphs * 2 + ranks * split.pipeline / 8 * 1024
    if split.data > 1:
        reserved += graphs * split.data * 3
    return max(round(1 - reserved * MIB / usable, 3), 0.05)


def _pooled(term: CacheTerm) -> CacheTerm:
    share = SLIDING_SHARE
    return msgspec.structs.replace(
        term,
        row_bytes=-(-term.row_bytes * share.numerator // share.denominator),
        window=None,
    )
