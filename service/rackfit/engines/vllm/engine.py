"""vLLM: rules, memory and arguments."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from rackfit.architecture.model import (
    Attention,
    RecurrentAttention,
)
from rackfit.catalog.entries import Accelerator, Scheme
from rackfit.engines.attending import SparseKernels
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.computed import absorbed_bytes, rotary_bytes
from rackfit.engines.groups import halvings
from rackfit.engines.hardware import (
    AMD,
    FP8_AMD,
    FROM_AMPERE,
    FROM_TURING,
    INTEL,
    NVIDIA,
    Hardware,
    cache_refused,
)
from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Launched
from rackfit.engines.padding import AS_STORED
from rackfit.engines.pairs import PairRule
from rackfit.engines.phases import Phases
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import WHOLE_SEQUENCES, Rule, reject, repeated_rows
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Limits, Term
from rackfit.engines.tiles import divided_whole, refines
from rackfit.engines.torch_memory import allocated_bytes
from rackfit.engines.version import Version
from rackfit.engines.vllm import cache_types, columns, memory, nodes, pages
from rackfit.engines.vllm.arguments import server_arguments
from rackfit.engines.vllm.balancer import balancer_maps
from rackfit.engines.vllm.padding import mxfp4_padding
from rackfit.engines.vllm.pairs import PAIR_RULES
from rackfit.engines.vllm.phases import VllmPhases
from rackfit.engines.vllm.sparse import SPARSE_KERNELS

UTILIZATION, UTILIZATION_BEFORE = 0.92, 0.9
"""The default share since graphs count, and before (config/cache.py, gpu_memory_utilization)."""
HALVED = {"awq": (0, 8, 5), "gptq": (0, 8, 5), "autoround": (0, 19)}
"""From here experts that Marlin cannot cut have smaller groups (awq_marlin.py and gptq_marlin.py,
not in 0.8.4; inc.py, read in 0.19)."""

REFINED: Version = (0, 30)  # fused_moe/oracle/fp8.py; not in 0.28
TOKENS_BY_REQUEST = (0, 20)
"""From here the log's token count is concurrency x context (get_kv_cache_capacity)."""

BATCHES_IN_FLIGHT = (0, 26)
"""From here windows are held for every batch under way (VllmConfig.max_in_flight_tokens)."""

FP4_EMULATED: Version = (0, 20)
"""From here AMD's devices take NVFP4 and compute in the model's type, in the bytes it is stored in.

Source: kernels/linear/nvfp4/emulation.py; platforms/rocm.py of 0.14 has no modelopt_fp4.
"""

ADAPTED_EXPERTS = (0, 12)
"""From here adapters have slots for every expert (pull request 21229, released with 0.11.2)."""

HYBRID_CACHE = (0, 10)
"""From here sliding layers drop what they no longer see (hybrid KV cache manager)."""


def expert_parallel_or_not(model: ServedModel, split: Split) -> Rejection | None:
    """Experts are divided whole over all tensor x data ranks, or each over all of them."""
    group = split.stage_ranks
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
    """vLLM; what differs by version is asked of `version`."""

    name: ClassVar[str] = "vllm"
    current: ClassVar[Version] = (0, 19)  # the newest with logs of many models in tests/truth
    known: ClassVar[tuple[Version, Version]] = ((0, 6), (0, 33))
    kernel_tables: ClassVar[str | None] = "vllm"
    drafts_from_embedding: ClassVar[bool] = True  # spec_decode/eagle.py, _maybe_share_embeddings
    hardware: ClassVar[Hardware] = Hardware(
        source="vLLM documentation: Quantization, supported hardware; FP8 W8A8; "
        "vllm/platforms/rocm.py, supported_quantization",
        generations=NVIDIA | AMD | INTEL,
        weights={
            "fp8": FROM_TURING | FP8_AMD | {"rdna4"} | INTEL,
            "nvfp4": FROM_AMPERE,
            "mxfp4": FROM_AMPERE | FP8_AMD,
            "awq": FROM_TURING | AMD | INTEL,
            "gptq": NVIDIA | AMD | INTEL,
            "int8": FROM_TURING,
            "bnb": NVIDIA,
        },
        later={"nvfp4": (FP4_EMULATED, AMD)},
    )
    rules: ClassVar[tuple[Rule, ...]] = (*WHOLE_SEQUENCES, expert_parallel_or_not)
    mixes_accelerators: ClassVar[bool] = True  # one process a device, each asks its own
    layer_list: ClassVar[str] = "VLLM_PP_LAYER_PARTITION"  # vllm/distributed/utils.py
    sparse_kernels: ClassVar[SparseKernels] = SPARSE_KERNELS
    phases: ClassVar[Phases] = VllmPhases()
    pair_rules: ClassVar[tuple[PairRule, ...]] = PAIR_RULES
    pairs_stages: ClassVar[bool] = False
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("bf16", "f16", "f32", "fp8", "nvfp4")

    @property
    def adapts_experts(self) -> bool:
        """By version; whatever the adapters themselves have (FusedMoEWithLoRA)."""
        return self.version >= ADAPTED_EXPERTS

    def broken_rules(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Tiles and groups besides, but those of experts that this version makes smaller."""

        def made_whole() -> bool:
            refined = self.version >= REFINED and refines(model, split)
            return refined or self.group_halvings(model, split) > 0

        return divided_whole(super().broken_rules(model, split), model, split, self, made_whole)

    def decode_contexts(self, model: ServedModel, tensor: int) -> Sequence[int]:
        """One group of full attention layers, as many ranks as repeat a head's rows.

        Sources: vllm/config/parallel.py, decode_context_parallel_size;
        v1/core/kv_cache_coordinator.py, which has none for hybrid models.
        """
        if any(isinstance(kind.attention, RecurrentAttention) for kind in model.kinds):
            return ()
        return repeated_rows(model, tensor, latent_only=False)

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

    def expert_padding(
        self, model: ServedModel, scheme: Scheme, split: Split, limits: Limits
    ) -> Fraction:
        """MXFP4 experts are padded for the kernels."""
        if scheme.id != "mxfp4":
            return AS_STORED
        return mxfp4_padding(model, split, self.version, limits.generation)

    def group_halvings(self, model: ServedModel, split: Split) -> int:
        """moe_wna16.py, where Marlin's kernels have no whole groups: AWQ and GPTQ; inc.py."""
        return halvings(model, split, HALVED, self.version)

    def keeps(self, model: ServedModel) -> bool:
        """What `--kv-cache-dtype` takes in this version, or the model's own type."""
        return cache_types.kept(self.version, model) and super().keeps(model)

    def unsupported(
        self, model: ServedModel, split: Split, accelerator: Accelerator
    ) -> Iterator[Rejection]:
        """A cache besides that no kernel reads there."""
        yield from super().unsupported(model, split, accelerator)
        if not cache_types.read_on(self.version, model.kv_cache_dtype, accelerator):
            yield cache_refused(self.name, model, split, accelerator, cache_types.FP4_SOURCE)

    def column_bytes(self, scheme: Scheme, generation: str) -> int:
        """As the kernels need it that serve GPTQ's matrices there."""
        return columns.column_bytes(scheme, generation)

    def keeps_zeros(self, scheme: Scheme, generation: str) -> bool:
        """As the kernels do that serve GPTQ's matrices there."""
        return columns.keeps_zeros(scheme, generation)

    def allocated_bytes(self, size: int) -> int:
        """As PyTorch's allocator rounds it."""
        return allocated_bytes(size)

    def vision_parts(self, split: Split) -> int:
        """Towers are divided like the language model (MultiModalConfig.mm_encoder_tp_mode)."""
        return split.tensor

    def limits(self, accelerator: Accelerator | None, context_tokens: int) -> Limits:
        """What vLLM prepares for on such a device."""
        return self.chosen(memory.limits(self.version, accelerator, context_tokens))

    @property
    def batch_cuts(self) -> Sequence[int]:
        """Before 0.8 batches follow the context up to where prompts are read in chunks."""
        follows = self.version < memory.V1 and self.choice.max_batched_tokens is None
        return (memory.PROMPT_PROFILED,) if follows else ()

    def allocated_cache(
        self, model: ServedModel, split: Split, counts: Sequence[int], limits: Limits
    ) -> StageCache:
        """Pages of one size in groups of alike layers."""
        return pages.stage_cache(
            model,
            split,
            counts,
            limits.batched_tokens * self._batches(split),
            hybrid=self.version >= HYBRID_CACHE,
            by_request=self.version >= TOKENS_BY_REQUEST,
        )

    def _batches(self, split: Split) -> int:
        """Batches under way at once: one a pipeline stage, two with asynchronous scheduling."""
        return max(2, split.pipeline) if self.version >= BATCHES_IN_FLIGHT else 1

    def computed_bytes(self, model: ServedModel) -> int:
        """Rotary tables in the model's type (vLLM RotaryEmbedding._compute_cos_sin_cache)."""
        return rotary_bytes(model.architecture, model.dtype)

    def layer_computed_bytes(
        self, model: ServedModel, attention: Attention | None, split: Split
    ) -> int:
        """W_UK_T and W_UV (vLLM MLACommonImpl.process_weights_after_loading)."""
        return absorbed_bytes(attention, split, model.dtype)

    def activation_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
    ) -> tuple[Term, ...]:
        """The peak of the profiling run."""
        return memory.activation_terms(self.version, model, split, limits, first=first, last=last)

    def overhead_terms(self, model: ServedModel, split: Split, limits: Limits) -> tuple[Term, ...]:
        """Memory outside torch's allocator, and graphs where they are estimated beforehand."""
        terms = memory.overhead_terms(self.version, split, limits)
        return (*terms, *self._graph_terms(model, split, limits, budgeted=True))

    def unbudgeted_terms(
        self, model: ServedModel, split: Split, limits: Limits
    ) -> tuple[Term, ...]:
        """CUDA graphs where they are captured after the cache is sized, and not thought of."""
        return self._graph_terms(model, split, limits, budgeted=False)

    def _graph_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, budgeted: bool
    ) -> tuple[Term, ...]:
        drafted = self.choice.speculative_tokens
        return memory.graph_terms(
            self.version, model, split, limits, drafted=drafted, budgeted=budgeted
        )

    def utilization(self, start: Start, free: int) -> float:
        """The caller's share of the total, lowered to what is free (in whole per mille)."""
        usable = start.usable
        counted = self.version >= memory.GRAPHS_COUNTED
        default = UTILIZATION if counted else UTILIZATION_BEFORE
        wanted = self.choice.gpu_memory_utilization or default
        return wanted if free >= wanted * usable else free * 1000 // usable / 1000

    @classmethod
    def expert_placement(
        cls, layers: Sequence[Sequence[int]], experts: int, first_layer: int
    ) -> dict[str, Any]:
        """The maps of its load balancer's state, of the layers that have experts alone."""
        del first_layer
        return balancer_maps(layers, experts)

    def program(self, model: str) -> tuple[str, ...]:
        """`vllm serve`."""
        return ("vllm", "serve", model)

    def starts_on(self, split: Split, hosts: Sequence[Host]) -> bool:
        """Whole data ranks on each node, or nodes alike (vllm/engine/arg_utils.py)."""
        return nodes.starts_on(split, hosts)

    def node_arguments(
        self, launched: Launched, hosts: Sequence[Host], number: int, place: int
    ) -> tuple[str, ...]:
        """Data ranks on each node, or nodes within a data rank (vllm/engine/arg_utils.py)."""
        return nodes.node_arguments(launched.split, hosts, number, place)

    def arguments(self, launched: Launched) -> tuple[str, ...]:
        """Arguments of `vllm serve`."""
        return server_arguments(launched, self.choice)
