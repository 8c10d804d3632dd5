"""SGLang: rules, memory and arguments."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from rackfit.architecture.model import Attention
from rackfit.catalog.entries import Accelerator, Scheme
from rackfit.engines.attending import Sparse, SparseKernels
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.computed import absorbed_bytes, rotary_bytes
from rackfit.engines.groups import halvings
from rackfit.engines.hardware import (
    AMD,
    BLACKWELL,
    FP8_AMD,
    FROM_AMPERE,
    FROM_HOPPER,
    FROM_TURING,
    NVIDIA,
    Hardware,
)
from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Launched, Phase, flags, master_port
from rackfit.engines.marlin import column_bytes
from rackfit.engines.padding import AS_STORED
from rackfit.engines.pairs import PairRule
from rackfit.engines.peak import FullBatch
from rackfit.engines.phases import Phases
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import COMMON_RULES, Rule, experts_on_all_ranks, reject, repeated_rows
from rackfit.engines.served import ServedModel
from rackfit.engines.sglang.arguments import server_arguments
from rackfit.engines.sglang.cache import kept_rows, stage_cache
from rackfit.engines.sglang.context import (
    PREFILL,
    READS,
    on_amd,
    prefill_context,
    reading_degrees,
)
from rackfit.engines.sglang.experts import mxfp4_padding
from rackfit.engines.sglang.pairs import PAIR_RULES
from rackfit.engines.sglang.phases import SglangPhases
from rackfit.engines.sglang.share import kept_share, static_share, tier
from rackfit.engines.sglang.sparse import RTX, SPARSE_KERNELS, chosen_on_rtx
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Fixed, Limits, Term, kernels, linked
from rackfit.engines.tiles import divided_whole
from rackfit.engines.torch_memory import allocated_bytes
from rackfit.engines.version import Version

GIB = 1 << 30

BF16_TOLD: Version = (0, 5, 9)
"""From here `--kv-cache-dtype` takes bfloat16 (0.5.3 does not)."""

HALVED = {"awq": (0, 4, 10), "autoround": (0, 5, 6)}
"""From here experts that Marlin cannot cut have smaller groups (awq.py, not in 0.4.9;
auto_round.py, not in 0.5.3); gptq.py has no such way out."""

FP4_BY_MARLIN: Version = (0, 5, 13)
"""From here Marlin serves NVFP4 where it has no kernels of its own, in the bytes it is stored in.

Sources: sgl-project/sglang pull request 25655; quantization/modelopt_quant.py and
marlin_utils_fp4.py (of ModelOpt's checkpoints; not in 0.5.12). 19652, for Turing too, was reverted.
"""

BEFORE_LOADING = {1: 0.5, 2: 1.9}
"""GiB taken before weights are loaded, by ranks: CUDA context and collectives.

A log on eight H200 leaves 137.9 of 139.8 GiB; one rank has no collectives.
"""


class Sglang(FullBatch, Engine):
    """SGLang 0.5; its `--tp` is our tensor x data x context, attention DP and CP lie inside."""

    name: ClassVar[str] = "sglang"
    current: ClassVar[Version] = (0, 5, 23)
    known: ClassVar[tuple[Version, Version]] = ((0, 4, 9), (0, 5, 23))
    kernel_tables: ClassVar[str | None] = "sglang"
    rules: ClassVar[tuple[Rule, ...]] = (*COMMON_RULES, experts_on_all_ranks)
    divides_prompts: ClassVar[bool] = True
    context_note: ClassVar[str] = READS
    context_source: ClassVar[str] = PREFILL
    context_phases: ClassVar[tuple[Phase, ...]] = ("both", "prefill")
    """Servers that write as well, or do not (documentation: DeepSeek-V3.2, context parallel)."""
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
        later={"nvfp4": (FP4_BY_MARLIN, FROM_AMPERE)},
    )
    sparse_kernels: ClassVar[SparseKernels] = SPARSE_KERNELS
    phases: ClassVar[Phases] = SglangPhases()
    pair_rules: ClassVar[tuple[PairRule, ...]] = PAIR_RULES
    pairs_stages: ClassVar[bool] = False
    even_slots: ClassVar[bool] = True
    slots_source: ClassVar[str] = "SGLang FusedMoE: num_experts % moe_ep_size == 0"
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "fp8")

    def partition(self, layers: int, stages: int) -> tuple[int, ...]:
        """The remainder goes to the last stages."""
        return super().partition(layers, stages)[::-1]

    def feed_forward_parts(self, split: Split) -> int:
        """Feed-forwards are divided over all of `--tp`, attention DP lying inside it.

        With context ranks they are whole, as are shared experts (moe_dense_tp_size = 1, DeepEP);
        they are counted so too where 0.5.22 divides them, of rows that an indexer chooses.
        """
        return 1 if split.context > 1 else split.stage_ranks

    def expert_padding(
        self, model: ServedModel, scheme: Scheme, split: Split, limits: Limits
    ) -> Fraction:
        """MXFP4 experts are padded for the kernels."""
        if scheme.id != "mxfp4":
            return AS_STORED
        return mxfp4_padding(self.version, model, split, limits.generation)

    def group_halvings(self, model: ServedModel, split: Split) -> int:
        """moe_wna16.py, where Marlin's kernels have no whole groups: AWQ, and not GPTQ."""
        return halvings(model, split, HALVED, self.version)

    def keeps(self, model: ServedModel) -> bool:
        """What `--kv-cache-dtype` takes in this version, or the model's own type."""
        dtype = model.kv_cache_dtype
        told = dtype in (model.dtype, "fp8") or (dtype == "bf16" and self.version >= BF16_TOLD)
        return told and super().keeps(model)

    def column_bytes(self, scheme: Scheme, generation: str) -> int:
        """As Marlin's kernels need it."""
        del generation
        return column_bytes(scheme)

    def keeps_zeros(self, scheme: Scheme, generation: str) -> bool:
        """Marlin's kernels drop them (hardware_backend/gpu/quantization/gptq_kernels.py)."""
        del scheme, generation
        return False

    def allocated_bytes(self, size: int) -> int:
        """As PyTorch's allocator rounds it."""
        return allocated_bytes(size)

    def computed_bytes(self, model: ServedModel) -> int:
        """Rotary tables, kept in f32 (sglang/srt/layers/rotary_embedding/base.py)."""
        return rotary_bytes(model.architecture, "f32")

    def layer_computed_bytes(
        self, model: ServedModel, attention: Attention | None, split: Split
    ) -> int:
        """w_kc and w_vc (models/deepseek_common/deepseek_weight_loader.py, post_load_weights)."""
        return absorbed_bytes(attention, split, model.dtype)

    def vision_parts(self, split: Split) -> int:
        """Towers are divided as attention is."""
        return split.tensor

    def head_parts(self, split: Split) -> int:
        """Of all of `--tp`, attention DP or not (ParallelLMHead without `--enable-dp-lm-head`)."""
        return split.stage_ranks

    def decode_contexts(self, model: ServedModel, tensor: int) -> Sequence[int]:
        """Of latent rows alone; a state stays as it is (documentation, Decode Context Parallel)."""
        return repeated_rows(model, tensor, latent_only=True)

    def broken_rules(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Tiles, groups and context ranks besides, by what this version divides."""

        def made_whole() -> bool:
            return self.group_halvings(model, split) > 0

        found = super().broken_rules(model, split)
        yield from divided_whole(found, model, split, self, made_whole)
        broken = prefill_context(self.version, model, split)
        if broken is not None:
            yield broken

    def unsupported(
        self, model: ServedModel, split: Split, accelerator: Accelerator
    ) -> Iterator[Rejection]:
        """Context ranks besides: on AMD's devices for one attention alone."""
        yield from super().unsupported(model, split, accelerator)
        if split.context > 1 and accelerator.generation in AMD and not on_amd(model):
            detail = f"{self.name} divides prompts of this model on NVIDIA's devices alone."
            yield reject(split, "hardware-unsupported", detail, PREFILL, context=split.context)

    def attended(self, model: ServedModel, kind: Sparse, version: Version) -> frozenset[str]:
        """RTX parts besides, of some models."""
        held = super().attended(model, kind, version)
        on_rtx = kind == "chosen" and chosen_on_rtx(version, model)
        return held | RTX if on_rtx else held

    def contexts(
        self, model: ServedModel, tensor: int, phase: Phase, generation: str
    ) -> Sequence[int]:
        """For replicas that read, on the devices it was verified on; those that write have none."""
        searched = phase == "prefill" and generation == "hopper"
        return reading_degrees(self.version, model, tensor) if searched else ()

    def limits(self, accelerator: Accelerator | None, context_tokens: int) -> Limits:
        """Chunk and graph sizes by the device's memory."""
        del context_tokens
        size = 80 * GIB if accelerator is None else accelerator.printed_bytes
        sizes = tier(self.version, size)
        return self.chosen(
            Limits(
                batched_tokens=sizes.chunk,
                sequences=sizes.narrow,
                linked=linked(accelerator),
                generation=kernels(accelerator),
            )
        )

    def allocated_cache(
        self, model: ServedModel, split: Split, counts: Sequence[int], limits: Limits
    ) -> StageCache:
        """In the pools that it has for a model; `limits` say for whose kernels."""
        kept = kept_rows(self.version, model, split.tensor, limits.generation)
        return stage_cache(self.version, self.choice, model, kept, counts, limits=limits)

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
        self, launched: Launched, hosts: Sequence[Host], number: int, place: int
    ) -> tuple[str, ...]:
        """Every node is told how many there are, which it is and where the first one is.

        On one node attention DP takes eight ports from an address on, which it puts behind the one
        it listens at if nothing is said: the next replica's would be the same but for one
        (server_args.py, PortArgs.init_new).
        """
        port = master_port(place)
        if len(hosts) == 1:
            alone = f"127.0.0.1:{port}" if launched.split.data > 1 else None
            return flags(dist_init_addr=alone)
        address = f"{hosts[0].name}:{port}"
        return flags(nnodes=len(hosts), node_rank=number, dist_init_addr=address)

    def arguments(self, launched: Launched) -> tuple[str, ...]:
        """Arguments of `python -m sglang.launch_server`."""
        return server_arguments(self.version, launched, self.choice)
