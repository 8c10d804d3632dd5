"""TensorRT-LLM: rules, memory and arguments."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import msgspec

from rackfit.architecture.model import ExpertFeedForward
from rackfit.catalog.entries import Accelerator, Scheme
from rackfit.engines.attending import SparseKernels
from rackfit.engines.hardware import (
    BLACKWELL,
    FROM_ADA,
    FROM_AMPERE,
    FROM_HOPPER,
    Hardware,
)
from rackfit.engines.interface import Engine, wrapped
from rackfit.engines.launch import Host, Launched, Phase, degree
from rackfit.engines.padding import padded, padded_slices, rounds_blocks
from rackfit.engines.pairs import PairRule
from rackfit.engines.peak import FullBatch
from rackfit.engines.phases import Phases
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import COMMON_RULES, Rule, experts_on_all_ranks, reject, repeated_rows
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.tensorrt_llm.chunking import CHUNKED, at_once, reads_at_once
from rackfit.engines.tensorrt_llm.helix import HELIX, WRITES, helix
from rackfit.engines.tensorrt_llm.options import (
    QUANTIZED_CACHES,
    as_yaml,
    options_file,
    sections,
)
from rackfit.engines.tensorrt_llm.pairs import PAIR_RULES
from rackfit.engines.tensorrt_llm.phases import TensorRtLlmPhases
from rackfit.engines.tensorrt_llm.sparse import SPARSE_KERNELS
from rackfit.engines.terms import Fixed, Limits, Term, kernels
from rackfit.engines.version import Version

MIB = 1 << 20
DEFAULT_FREE_SHARE = 0.9  # KvCacheConfig.free_gpu_memory_fraction
HELIX_FROM: Version = (1, 3)  # docs/source/features/helix.md as read there
CONTEXT_BYTES = 512 * MIB
EXPERT_MULTIPLE, TAKEN_IN = 128, 512  # weight_alignment, input_hidden_alignment
NCCL_BYTES = {1: 0, 2: 342 * MIB, 4: 392 * MIB}
"""Communication buffers by group size (aiconfigurator systems/*.yaml, nccl_mem)."""


def attention_is_tensor_or_data(_model: ServedModel, split: Split) -> Rejection | None:
    """Attention is divided over all ranks or repeated on all of them."""
    if 1 in (split.tensor, split.data):
        return None
    return reject(
        split,
        "degree-unsupported",
        f"TensorRT-LLM divides attention over all of its {split.tensor * split.data} ranks or, "
        "with attention DP, over none.",
        "TensorRT-LLM LlmArgs.enable_attention_dp",
        tensor=split.tensor,
        data=split.data,
    )


class TensorRtLlm(FullBatch, Engine):
    """TensorRT-LLM 1.x with its PyTorch back end."""

    name: ClassVar[str] = "tensorrt-llm"
    current: ClassVar[Version] = (1, 3)
    known: ClassVar[tuple[Version, Version]] = ((1, 0), (1, 3))
    kernel_tables: ClassVar[str | None] = "trtllm"
    rules: ClassVar[tuple[Rule, ...]] = (
        *COMMON_RULES,
        attention_is_tensor_or_data,
        experts_on_all_ranks,
        helix,
    )
    context_note: ClassVar[str] = WRITES
    context_source: ClassVar[str] = HELIX
    context_phases: ClassVar[tuple[Phase, ...]] = ("decode",)  # "generation servers" (HELIX)
    hardware: ClassVar[Hardware] = Hardware(
        source="TensorRT-LLM documentation: supported hardware, support matrix (precision)",
        generations=FROM_AMPERE,
        weights={"fp8": FROM_ADA, "w4a8": FROM_ADA, "nvfp4": BLACKWELL, "mxfp4": FROM_HOPPER},
        caches={"fp8": FROM_ADA, "nvfp4": BLACKWELL},
    )
    sparse_kernels: ClassVar[SparseKernels] = SPARSE_KERNELS
    phases: ClassVar[Phases] = TensorRtLlmPhases()
    pair_rules: ClassVar[tuple[PairRule, ...]] = PAIR_RULES
    even_slots: ClassVar[bool] = True
    slots_source: ClassVar[str] = "TensorRT-LLM MoeLoadBalancerConfig: num_slots % ep_size == 0"
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "fp8", "nvfp4")
    block_tokens: ClassVar[int] = 32
    batched_tokens: ClassVar[int] = 8192  # LlmArgs.max_num_tokens
    sequences: ClassVar[int] = 2048  # LlmArgs.max_batch_size

    def keeps(self, model: ServedModel) -> bool:
        """What KvCacheConfig.dtype is told, or what "auto" follows: the model's own type."""
        return model.kv_cache_dtype in (model.dtype, *QUANTIZED_CACHES) and super().keeps(model)

    def broken_rules(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Helix ranks write one token a step: they draft with an Eagle3 model alone, if at all."""
        yield from super().broken_rules(model, split)
        if split.context > 1 and self.version < HELIX_FROM:
            detail = f"context = {split.context}: Helix is for TensorRT-LLM 1.3 and later."
            yield reject(split, "degree-unsupported", detail, HELIX, context=split.context)
        if split.context > 1 and self.choice.speculative_tokens:
            detail = "Helix ranks do not draft with multi-token-prediction layers."
            numbers = {"context": split.context, "drafted": self.choice.speculative_tokens}
            yield reject(split, "degree-unsupported", detail, HELIX, **numbers)

    def unsupported(
        self, model: ServedModel, split: Split, accelerator: Accelerator
    ) -> Iterator[Rejection]:
        """Helix combines what SM100's kernels say of their sums; those of SM120 do not.

        Source: cpp/tensorrt_llm/common/attentionOp.cpp, mlaGeneration (softmaxStatsPtr).
        """
        yield from super().unsupported(model, split, accelerator)
        if split.context > 1 and kernels(accelerator) not in {"", *BLACKWELL}:
            detail = f"{self.name} divides caches over context ranks on SM100 of Blackwell alone."
            yield reject(split, "hardware-unsupported", detail, HELIX, context=split.context)

    def contexts(
        self, model: ServedModel, tensor: int, phase: Phase, generation: str
    ) -> Sequence[int]:
        """Helix for replicas that write, of the latent rows that tensor ranks would repeat."""
        if phase != "decode" or generation not in BLACKWELL:
            return ()
        return repeated_rows(model, tensor, latent_only=True)

    def limits(self, accelerator: Accelerator | None, context_tokens: int) -> Limits:
        """Whole prompts besides, on devices that may have to read them at once."""
        plain = super().limits(accelerator, context_tokens)
        if plain.generation in CHUNKED or self.choice.max_batched_tokens is not None:
            return plain
        return msgspec.structs.replace(plain, prompt_tokens=context_tokens)

    def expert_padding(
        self, model: ServedModel, scheme: Scheme, split: Split, limits: Limits
    ) -> Fraction:
        """MXFP4 experts are padded to 128, what the first two matrices take in to 512 on Blackwell.

        Source: _torch/modules/fused_moe/quantization.py (MXFP4WeightCutlassFusedMoEMethod,
        MXFP4WeightTRTLLMGenFusedMoEMethod), fused_moe_triton.py; model_config.py,
        resolve_moe_backend.
        """
        if not rounds_blocks(model, scheme):
            return super().expert_padding(model, scheme, split, limits)
        hidden = model.architecture.hidden_size
        across = padded(hidden, EXPERT_MULTIPLE)
        if limits.generation in BLACKWELL:
            across = (2 * padded(hidden, TAKEN_IN) + across) / 3
        return across * padded_slices(model, split, EXPERT_MULTIPLE)

    def attention_output_parts(self, split: Split) -> int:
        """Context ranks divide it too, each having combined its part of the heads (mapping_o)."""
        return split.cell

    def feed_forward_parts(self, split: Split) -> int:
        """Context ranks are tensor ranks outside attention (Mapping.repurpose_helix_cp_to_tp).

        With attention DP feed-forwards are whole on every rank.
        """
        return split.cell if split.data == 1 else split.tensor

    def embedding_parts(self, split: Split) -> int:
        """As feed-forwards are."""
        return self.feed_forward_parts(split)

    def head_parts(self, split: Split) -> int:
        """As feed-forwards are."""
        return self.feed_forward_parts(split)

    def activation_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
    ) -> tuple[Term, ...]:
        """Of prompts that are read at once all of the longest."""
        longest = at_once(model, limits)
        return super().activation_terms(model, split, longest, first=first, last=last)

    def overhead_terms(self, model: ServedModel, split: Split, limits: Limits) -> tuple[Term, ...]:
        """The CUDA context and NCCL's buffers."""
        del model, limits
        group = split.stage_ranks
        nccl = NCCL_BYTES[1 if group == 1 else 2 if group <= 3 else 4]  # noqa: PLR2004 (the table's own steps)
        return (
            Term("CUDA context", CONTEXT_BYTES, 0.5, "start-up logs"),
            Term("NCCL buffers", nccl, 0.2, "aiconfigurator systems/*.yaml, nccl_mem"),
        )

    def utilization(self, start: Start, free: int) -> float:
        """The share of what is free after the weights; what is taken before lowers it."""
        del start, free
        return self.choice.gpu_memory_utilization or DEFAULT_FREE_SHARE

    def budget_bytes(self, start: Start, free: int, fixed: Fixed) -> int:
        """All that is loaded first, and the cache's share of what is then free."""
        room = min(start.usable, free)
        left = max(room - fixed.all, 0)
        return min(fixed.all, room) + int(self.utilization(start, free) * left)

    def most_held(self, start: Start, free: int) -> int:
        """The share is of what weights leave, so they may take all."""
        return min(start.usable, free)

    @classmethod
    def expert_placement(
        cls, layers: Sequence[Sequence[int]], experts: int, first_layer: int
    ) -> dict[str, Any]:
        """The YAML that `moe_config: load_balancer` names, for a placement that stays.

        Source: TensorRT-LLM, examples/ep_load_balancer/generate_eplb_config.py.
        """
        del experts
        assignments = [
            f"  {number}: {list(layer)}\n" for number, layer in enumerate(layers, first_layer)
        ]
        lines = (
            "initial_global_assignments:\n",
            *assignments,
            "layer_updates_per_iter: 0\n",
            f"num_slots: {len(layers[0])}\n",
        )
        return {"yaml": "".join(lines)}

    def program(self, model: str) -> tuple[str, ...]:
        """`trtllm-serve`, which starts its other ranks itself on one node."""
        return ("trtllm-serve", model)

    def mpi_program(self, model: str) -> tuple[str, ...]:
        """Rank 0 serves, the others wait for it (examples/llm-api/llm_mgmn_trtllm_serve.sh)."""
        return ("trtllm-llmapi-launch", *self.program(model))

    def starts_on(self, split: Split, hosts: Sequence[Host]) -> bool:
        """The same devices of each node: one variable tells all ranks which."""
        del split
        return len({host.devices for host in hosts}) == 1

    def held_experts(
        self, mixture: ExpertFeedForward, split: Split, place: int
    ) -> tuple[range, ...]:
        """With redundant ones ranks start where they would without, and go on further.

        Source: tensorrt_llm/_torch/modules/fused_moe/interface.py, initial_global_assignments.
        """
        redundant = self.choice.redundant_experts
        if not redundant or split.expert == 1:
            return super().held_experts(mixture, split, place)
        held = (mixture.experts + redundant) // split.expert
        return wrapped(place * mixture.experts // split.expert, held, mixture.experts)

    def files(self, launched: Launched) -> Mapping[str, str]:
        """The options that have no argument, as JSON, which YAML takes (llmapi/llm_args.py).

        A section given here replaces what arguments say of it, so it is complete.
        """
        step = self.choice.max_batched_tokens or self.batched_tokens
        options = dict(sections(launched, self.choice, step, self.block_tokens))
        return {options_file(launched.phase): as_yaml(options)} if options else {}

    def arguments(self, launched: Launched) -> tuple[str, ...]:
        """Arguments of `trtllm-serve`, whose names have underscores."""
        split, choice = launched.split, self.choice
        step = choice.max_batched_tokens
        if step is None and launched.phase != "decode" and reads_at_once(launched):
            step = max(launched.context_tokens, self.batched_tokens)
        values = {
            "tp_size": split.tensor * split.data,
            "pp_size": degree(split.pipeline),
            "ep_size": degree(split.expert),
            "max_seq_len": launched.context_tokens,
            "max_batch_size": choice.max_sequences,
            "max_num_tokens": step,
            "kv_cache_free_gpu_memory_fraction": f"{launched.utilization:g}",
            "extra_llm_api_options": next(iter(self.files(launched)), None),
        }
        return tuple(f"--{name}={value}" for name, value in values.items() if value is not None)
