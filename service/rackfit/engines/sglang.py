"""SGLang: rules, memory and arguments."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import msgspec

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.catalog.entries import Accelerator, Scheme
from rackfit.engines import sglang_states
from rackfit.engines.cache_layout import CacheTerm, merged, sparse_row_bytes
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.context import (
    READS,
    experts_on_all_ranks,
    prefill_context,
    reading_degrees,
    reading_strategy,
)
from rackfit.engines.hardware import (
    BLACKWELL,
    FP8_AMD,
    FROM_AMPERE,
    FROM_HOPPER,
    FROM_TURING,
    NVIDIA,
    Hardware,
)
from rackfit.engines.interface import Engine
from rackfit.engines.launch import MASTER_PORT, Host, Launched, Phase, degree, flags
from rackfit.engines.marlin import column_bytes
from rackfit.engines.peak import peak_terms
from rackfit.engines.phases import Phases
from rackfit.engines.rules import COMMON_RULES, Rule, repeated_rows
from rackfit.engines.served import ServedModel
from rackfit.engines.sglang_compressed import compressed_cache
from rackfit.engines.sglang_phases import SglangPhases
from rackfit.engines.sglang_share import kept_share, static_share, tier
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Fixed, Limits, Term, linked
from rackfit.engines.torch_memory import allocated_bytes
from rackfit.engines.version import Version, read_version
from rackfit.lazy import cached_property

GIB = 1 << 30

PLAIN_SPARSE_ROWS = frozenset({"blackwell", "cdna2", "cdna3", "cdna4"})
"""Generations whose sparse latent rows in fp8 are fp8 throughout.

Source: sglang, model_runner.py, calculate_mla_kv_cache_dim, and the default of each generation's
attention backend.
"""

CURRENT: Version = (0, 5, 23)
"""The version planned for where none is named."""

SLIDING_SHARE = Fraction(4, 5)
"""Tokens the pool of sliding layers holds for each token of the full ones (0.8 by default).

Source: sglang/srt/server_args.py, swa_full_tokens_ratio.
"""

SLIDING_POOL: Mapping[str, Version] = {
    "Llama4ForConditionalGeneration": (0, 5, 9),
    "GptOssForCausalLM": (0, 5, 9),
    "MiMoV2FlashForCausalLM": (0, 5, 9),
    "Step3p5ForCausalLM": (0, 5, 9),
    "Step3p7ForConditionalGeneration": (0, 5, 14),
    "Gemma4ForCausalLM": (0, 5, 14),
    "Gemma4ForConditionalGeneration": (0, 5, 14),
}
"""Models whose sliding layers have that pool, and from when; those of others keep every token.

Source: sglang/srt/configs/model_config.py, is_hybrid_swa_model, of 0.5.9, 0.5.14 and 0.5.23 (0.5.6
has the pool on request alone).
"""

BEFORE_LOADING = {1: 0.5, 2: 1.9}
"""GiB taken before weights are loaded, by ranks: CUDA context and collectives.

A log on eight H200 leaves 137.9 of 139.8 GiB; one rank has no collectives.
"""


class Sglang(Engine):
    """SGLang 0.5; its `--tp` is our tensor x data x context, attention DP and CP lie inside."""

    name: ClassVar[str] = "sglang"
    kernel_tables: ClassVar[str | None] = "sglang"
    rules: ClassVar[tuple[Rule, ...]] = (*COMMON_RULES, experts_on_all_ranks, prefill_context)
    divides_prompts: ClassVar[bool] = True
    context_note: ClassVar[str] = READS
    mixes_accelerators: ClassVar[bool] = True  # one process a device, each asks its own
    layer_list: ClassVar[str] = "SGLANG_PP_LAYER_PARTITION"  # sglang/srt/distributed/utils.py
    hardware: ClassVar[Hardware] = Hardware(
        source="SGLang documentation: Quantization, platform compatibility",
        generations=FROM_TURING | FP8_AMD,
        weights={
            "fp8": FROM_AMPERE | FP8_AMD,
            "nvfp4": BLACKWELL,
            "mxfp4": FROM_HOPPER | FP8_AMD,
            "bnb": NVIDIA,
        },
    )
    phases: ClassVar[Phases] = SglangPhases()
    even_slots: ClassVar[bool] = True
    slots_source: ClassVar[str] = "SGLang FusedMoE: num_experts % moe_ep_size == 0"
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "fp8")

    @cached_property
    def version(self) -> Version:
        """The version that serves."""
        return read_version(self.choice.version, CURRENT)

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """The remainder goes to the last stages."""
        return super().partition(layers, stages)[::-1]

    def feed_forward_parts(self, split: Split) -> int:
        """Feed-forwards are divided over all of `--tp`, attention DP lying inside it.

        With context ranks they are whole, as are shared experts (moe_dense_tp_size = 1, DeepEP).
        """
        return 1 if split.context > 1 else split.stage_ranks

    def column_bytes(self, scheme: Scheme, generation: str) -> int:
        """As Marlin's kernels need it."""
        del generation
        return column_bytes(scheme)

    def allocated_bytes(self, size: int) -> int:
        """As PyTorch's allocator rounds it."""
        return allocated_bytes(size)

    def vision_parts(self, split: Split) -> int:
        """Towers are divided as attention is."""
        return split.tensor

    def head_parts(self, split: Split) -> int:
        """Of all of `--tp`, attention DP or not (ParallelLMHead without `--enable-dp-lm-head`)."""
        return split.stage_ranks

    def decode_contexts(self, model: ServedModel, tensor: int) -> Sequence[int]:
        """Of latent rows alone; a state stays as it is (documentation, Decode Context Parallel)."""
        return repeated_rows(model, tensor, latent_only=True)

    def contexts(
        self, model: ServedModel, tensor: int, phase: Phase, generation: str
    ) -> Sequence[int]:
        """For replicas that read, on the devices it was verified on; those that write have none."""
        searched = phase == "prefill" and generation == "hopper"
        return reading_degrees(model, tensor) if searched else ()

    def limits(self, accelerator: Accelerator | None, context_tokens: int) -> Limits:
        """Chunk and graph sizes by the device's memory."""
        del context_tokens
        usable = 80 * GIB if accelerator is None else accelerator.usable_bytes
        sizes = tier(self.version, usable)
        return self.chosen(
            Limits(
                batched_tokens=sizes.chunk,
                sequences=sizes.narrow,
                linked=linked(accelerator),
                generation=accelerator.generation if accelerator else "",
            )
        )

    def allocated_cache(
        self, model: ServedModel, split: Split, counts: Sequence[int], limits: Limits
    ) -> StageCache:
        """Sliding layers keep every token, or some models' in a pool of their own: a fixed share.

        Sparse latent rows in fp8 keep scales and a rotary part in 16 bits for the kernels of
        Hopper (FlashMLA), but not for Blackwell's (TensorRT-LLM) nor AMD's (TileLang).
        """
        if any(isinstance(kind.attention, CompressedAttention) for kind in model.kinds):
            return compressed_cache(self.version, model, counts)
        plain = limits.generation in PLAIN_SPARSE_ROWS or model.kv_cache_dtype != "fp8"
        each = model.cache_terms(split.tensor)
        if not plain:
            kinds = zip(model.kinds, each, strict=True)
            each = tuple(_with_scales(kind.attention, terms) for kind, terms in kinds)
        cache = StageCache(
            terms=merged(zip(counts, each, strict=True), self.block_tokens),
            block_tokens=self.block_tokens,
        )
        if any(isinstance(kind.attention, RecurrentAttention) for kind in model.kinds):
            return sglang_states.pooled(self.version, self.choice, model, cache)
        known = SLIDING_POOL.get(model.architecture.name)
        share = SLIDING_SHARE if known is not None and self.version >= known else Fraction(1)
        if share < 1 and not any(term.window is None and term.row_bytes for term in cache.terms):
            return cache
        terms = tuple(t if t.window is None else _pooled(t, share) for t in cache.terms)
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
        size = BEFORE_LOADING[min(split.stage_ranks, 2)] * GIB
        return (Term("CUDA context and collectives", int(size), 0.3, "start-up logs"),)

    def utilization(self, start: Start, free: int) -> float:
        """`--mem-fraction-static`: weights and cache together, of what is there at start."""
        del free
        chosen = self.choice.gpu_memory_utilization
        return chosen or static_share(self.version, self.choice, start)

    def budget_bytes(self, start: Start, free: int, fixed: Fixed) -> int:
        """Weights and cache have the static share; the rest of the device holds the rest."""
        there = min(start.usable, free) - fixed.overhead
        share = self.utilization(start, free) * kept_share(self.version, start)
        static = int(share * there)
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

    def program(self, model: str) -> tuple[str, ...]:
        """`python3 -m sglang.launch_server`."""
        return ("python3", "-m", "sglang.launch_server", f"--model-path={model}")

    def starts_on(self, split: Split, hosts: Sequence[Host]) -> bool:
        """Nodes alike, of whole stages or a share of one each (entrypoints/engine.py)."""
        stages, nodes = split.pipeline, len(hosts)
        alike = len({len(host.devices) for host in hosts}) == 1
        return alike and (stages % nodes == 0 or nodes % stages == 0)

    def node_arguments(
        self, launched: Launched, hosts: Sequence[Host], number: int
    ) -> tuple[str, ...]:
        """Every node is told how many there are, which it is and where the first one is."""
        del launched
        if len(hosts) == 1:
            return ()
        address = f"{hosts[0].name}:{MASTER_PORT}"
        return flags(nnodes=len(hosts), node_rank=number, dist_init_addr=address)

    def arguments(self, launched: Launched) -> tuple[str, ...]:
        """Arguments of `python -m sglang.launch_server` (sglang/srt/server_args.py)."""
        split, model, choice = launched.split, launched.model, self.choice
        arguments = flags(
            tp_size=split.stage_ranks,
            pp_size=degree(split.pipeline),
            dp_size=degree(split.data),
            attn_cp_size=degree(split.context),
            ep_size=degree(split.expert),
            decode_context_parallel_size=degree(split.decode_context),
            context_length=launched.context_tokens,
            max_running_requests=choice.max_sequences,
            chunked_prefill_size=choice.max_batched_tokens,
            mem_fraction_static=launched.utilization,
            kv_cache_dtype=_cache_argument(model),
            quantization="fp8" if model.scheme and model.scheme.id == "fp8" else None,
            ep_num_redundant_experts=choice.redundant_experts or None,
            disaggregation_mode=None if launched.phase == "both" else launched.phase,
        )
        return (*arguments, *self._optional_arguments(model, split))

    def _optional_arguments(self, model: ServedModel, split: Split) -> Iterator[str]:
        choice = self.choice
        if split.context > 1:
            yield "--enable-prefill-cp"
            yield f"--cp-strategy={reading_strategy(model)}"
        if split.data > 1:
            yield "--enable-dp-attention"
        if choice.speculative_tokens:
            yield "--speculative-algorithm=NEXTN"
            yield f"--speculative-num-draft-tokens={choice.speculative_tokens + 1}"
        if choice.lora_slots:
            yield "--enable-lora"
            slots = choice.lora_slots
            yield from flags(max_loras_per_batch=slots, max_lora_rank=choice.lora_rank)


def _cache_argument(model: ServedModel) -> str | None:
    """`--kv-cache-dtype`, where it is not the default: of sparse latent rows by the device.

    Source: sglang/srt/arg_groups/overrides.py, _dsa_kv_cache_dtype_default (fp8 on Blackwell).
    """
    if model.kv_cache_dtype == "fp8":
        return "fp8_e4m3"
    kinds = [kind.attention for kind in model.kinds]
    sparse = any(isinstance(kind, LatentAttention) and kind.top_k for kind in kinds)
    return "bfloat16" if sparse else None


def _pooled(term: CacheTerm, share: Fraction) -> CacheTerm:
    return msgspec.structs.replace(
        term,
        row_bytes=-(-term.row_bytes * share.numerator // share.denominator),
        window=None,
    )


def _with_scales(
    attention: Attention | None, terms: tuple[CacheTerm, ...]
) -> tuple[CacheTerm, ...]:
    """The terms of a layer whose sparse rows keep their scales."""
    if isinstance(attention, LatentAttention) and attention.top_k:
        return (CacheTerm(row_bytes=sparse_row_bytes(attention)),)
    return terms
