"""What vLLM takes beside weights and cache: the peak of its profiling run, and what is not torch's.

At start vLLM runs one full batch and then the sampler, and gives the cache what the fuller of
both moments leaves. Sources: vLLM v1/worker/gpu_model_runner.py (profile_run,
_dummy_sampler_run), v1/worker/gpu_worker.py (determine_available_memory),
v1/sample/ops/topk_topp_sampler.py. Checked against start-up logs (tests/truth).
"""

from collections.abc import Iterator, Mapping

from rackfit.architecture.model import (
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    Layer,
)
from rackfit.catalog.entries import Accelerator
from rackfit.engines.cache_layout import PLAIN_BYTES
from rackfit.engines.hardware import AMD, BLACKWELL, INTEL
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits, Term, kernels, linked
from rackfit.engines.version import Version

GIB = 1 << 30
MIB = 1 << 20

LARGE_DEVICE = 70 * GIB
"""From here vLLM prepares for larger batches (EngineArgs.get_batch_defaults)."""

SLOW: Mapping[str, Version] = {"A100": (0, 0), "GB10": (0, 33)}
"""Large devices that are excepted from a version on."""

LARGEST_DEVICE, LARGEST_BATCH = 160 * GIB, (0, 28)
"""From here, and from this version, 16,384 tokens are batched."""

PROMPT_PROFILED = 32_768
"""Before 0.8 the profile ran one prompt of the whole context, up to here."""

V1 = (0, 8)
LEAN_SAMPLER = (0, 17)
MANY_SEQUENCES = (0, 9)

CUBLAS_BYTES = 32 * MIB
"""cuBLAS' workspace on Hopper, from torch's allocator (CUBLAS_WORKSPACE_CONFIG)."""

SAMPLER_BYTES = 12
"""A logit beside its own type: f32 copy, buffer of the top-k and top-p kernel, probabilities."""

SORTING_SAMPLER_BYTES = 36
"""The same where logits are sorted: f32 copy, keys and i64 indices twice, scratch of the sort."""

SAMPLER_ROWS = 132
"""Programs of the top-k and top-p kernel, each with a row of f32 (one an SM; Hopper's)."""

CONTEXT_TOKENS = 64 * 1024
"""Cached tokens whose keys and values latent attention expands at once in a prefill."""

NON_TORCH = {1: 0.25, 2: 2.09, 4: 2.17, 8: 2.25}
"""GiB of CUDA context, NCCL and all-reduce buffers by tensor degree, linked devices, 0.19.

Logs on H100 give 0.24 to 0.26, 2.07 to 2.11 and 2.13 to 2.21; 8 is extrapolated.
"""

NON_TORCH_BEFORE = {1: 0.13, 2: 0.55}
"""The same before 0.17 (logs of 0.11 on H100)."""

NON_TORCH_V0 = {1: 0.25, 2: 3.58, 8: 7.16}
"""The same before 0.8 (logs on RTX 3090, on 80 GB parts and on H200)."""

NON_TORCH_PCIE = {1: 0.25}
"""Without links there are no buffers to exchange through (logs on two RTX 4090)."""


def limits(version: Version, accelerator: Accelerator | None, context_tokens: int) -> Limits:
    """The batch vLLM prepares for on a device (EngineArgs.get_batch_defaults)."""
    large = accelerator is None or (
        accelerator.usable_bytes >= LARGE_DEVICE
        and not any(name in accelerator.id and version >= v for name, v in SLOW.items())
    )
    tokens = 8192 if large else 2048
    if accelerator and accelerator.usable_bytes >= LARGEST_DEVICE and version >= LARGEST_BATCH:
        tokens = 16_384
    if version < V1:
        tokens = max(context_tokens, 2048) if context_tokens <= PROMPT_PROFILED else 2048
    many = large and version >= MANY_SEQUENCES
    return Limits(
        batched_tokens=tokens,
        sequences=1024 if many else 256,
        linked=linked(accelerator),
        generation=kernels(accelerator),
    )


def activation_terms(
    version: Version, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
) -> tuple[Term, ...]:
    """The terms of the fuller moment on one rank of a stage."""
    held = tuple(_always_held(model, split, limits, first=first))
    forward = tuple(_forward(version, model, split, limits))
    sampler = tuple(_sampler(version, model, limits)) if last else ()
    return held + max(forward, sampler, key=lambda terms: sum(t.bytes for t in terms))


def _always_held(
    model: ServedModel, split: Split, limits: Limits, *, first: bool
) -> Iterator[Term]:
    yield Term("cuBLAS workspace", CUBLAS_BYTES, 0.1, "CUBLAS_WORKSPACE_CONFIG of sm_90")
    hidden = model.architecture.hidden_size
    workspace = max(_expert_workspace(kind, hidden, split, limits) for kind in model.kinds)
    if workspace:
        size = workspace * _element(model)
        yield Term("expert workspace", size, 0.2, "vLLM TritonExperts.workspace_shapes")
    if first and any(s.tensor.component == "vision" for s in model.outer):
        size = limits.batched_tokens * model.architecture.hidden_size * _element(model)
        yield Term("encoder cache", size, 0.5, "vLLM GPUModelRunner.profile_run")


def _expert_workspace(kind: Layer, hidden: int, split: Split, limits: Limits) -> int:
    """Elements of both workspaces: each token's row once an expert, before and after."""
    mixture = kind.feed_forward
    if not isinstance(mixture, ExpertFeedForward):
        return 0
    width = mixture.width // (split.expert_tensor or 1)
    row = max(width, hidden) + max((1 + mixture.gated) * width, hidden)
    return limits.batched_tokens * mixture.active * row


def _forward(version: Version, model: ServedModel, split: Split, limits: Limits) -> Iterator[Term]:
    """A full batch inside its widest layer."""
    hidden = model.architecture.hidden_size
    compiled = version >= V1
    held = (4 if compiled else 3) * hidden
    inside = max(_layer_elements(kind, split, compiled=compiled) for kind in model.kinds)
    size = limits.batched_tokens * (held + inside) * _element(model)
    yield Term("full batch in a layer", size, 0.2, "vLLM GPUModelRunner.profile_run")
    context = max(_expanded_context(kind, split) for kind in model.kinds) * _element(model)
    if context:
        yield Term("latent context expanded", context, 0.2, "vLLM MLACommonImpl.forward")


def _layer_elements(kind: Layer, split: Split, *, compiled: bool) -> int:
    """Elements of a token in a layer: the feed-forward's halves and product, and queries."""
    feed = kind.feed_forward
    width = 0
    if isinstance(feed, DenseFeedForward):
        width = (2 + feed.gated) * feed.width // split.tensor
    elif isinstance(feed, ExpertFeedForward):
        width = 3 * (feed.shared_width + feed.dense_width) // split.tensor
    attention = kind.attention
    if not compiled or not isinstance(attention, GroupedAttention):
        return width
    rows = attention.heads * 2 * attention.key_width
    rows += attention.kv_heads * (attention.key_width + attention.value_width)
    return width + rows // split.tensor


def _expanded_context(kind: Layer, split: Split) -> int:
    attention = kind.attention
    if not isinstance(attention, LatentAttention):
        return 0
    return (
        CONTEXT_TOKENS
        * attention.heads
        // split.tensor
        * (attention.nope_width + attention.value_width)
    )


def _sampler(version: Version, model: ServedModel, limits: Limits) -> Iterator[Term]:
    """Every sequence's logits, while the batch's hidden states are still held."""
    vocabulary, element = model.architecture.vocabulary_size, _element(model)
    lean = version >= LEAN_SAMPLER
    extra = SAMPLER_BYTES if lean else SORTING_SAMPLER_BYTES
    logits = limits.sequences * vocabulary * (element + extra)
    yield Term("logits and sampler", logits, 0.05, "vLLM GPUModelRunner._dummy_sampler_run")
    if lean:
        rows = SAMPLER_ROWS * vocabulary * PLAIN_BYTES["f32"]
        yield Term("top-k and top-p buffer", rows, 0.2, "vLLM apply_top_k_top_p_triton")
    states = (limits.batched_tokens + limits.sequences) * model.architecture.hidden_size * element
    yield Term("hidden states", states, 0.05, "vLLM GPUModelRunner._dummy_run")


def overhead_terms(version: Version, split: Split, limits: Limits) -> tuple[Term, ...]:
    """Memory outside torch's allocator."""
    table = _non_torch(version, limits)
    degree = max(known for known in table if known <= split.tensor)
    size = int(table[degree] * GIB)
    return (Term("CUDA context and collectives", size, 0.15, "vLLM start-up logs"),)


def _non_torch(version: Version, limits: Limits) -> dict[int, float]:
    if not limits.linked:
        return NON_TORCH_PCIE
    if version < V1:
        return NON_TORCH_V0
    return NON_TORCH if version >= LEAN_SAMPLER else NON_TORCH_BEFORE


GRAPHS_BYTES, GRAPH_LAYER_BYTES = 420 * MIB, 15 * MIB
"""Pools of the captured graphs, and each layer's kernels in all 51 batch sizes up to 512.

Start-ups of 0.19 on H100 took 0.65 GiB for 16 layers, 0.91 for 32 and 1.6 for 80.
"""

LARGEST_GRAPH, LARGER_GRAPHS = 512, (0, 30)
"""No larger batch is captured; from that version one twice as large on SM100 (not in 0.26)."""

EXPERT_GRAPHS = 2
"""Layers with experts have about twice the kernels (1.57 GiB for 27 layers)."""


GRAPHS_COUNTED = (0, 20)
"""From here what graphs take is estimated with the profile and left out of the cache.

Not on AMD's and Intel's devices (gpu_worker.py, determine_available_memory; envs.py,
VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS).
"""


def graph_terms(
    version: Version,
    model: ServedModel,
    split: Split,
    limits: Limits,
    *,
    drafted: int,
    budgeted: bool,
) -> tuple[Term, ...]:
    """CUDA graphs of the largest stage, if the budget has them or not, as asked.

    `drafted` are the tokens a draft proposes at a time.
    """
    counted = version >= GRAPHS_COUNTED and limits.generation not in AMD | INTEL
    if counted != budgeted:
        return ()
    layers = -(-len(model.order) // split.pipeline)
    each = GRAPH_LAYER_BYTES * (EXPERT_GRAPHS if model.architecture.experts else 1)
    sizes = _captured(_largest_graph(version, limits, drafted))
    size = GRAPHS_BYTES + layers * each * sizes // _captured(LARGEST_GRAPH)
    return (Term("CUDA graphs", size, 0.4, "vLLM start-up logs (graph capturing)"),)


def _largest_graph(version: Version, limits: Limits, drafted: int) -> int:
    """Tokens of the largest batch captured: twice the sequences' (VllmConfig._set_cudagraph_sizes).

    Each sequence has a token, and those of a draft besides.
    """
    larger = version >= LARGER_GRAPHS and limits.generation in BLACKWELL
    most = 2 * LARGEST_GRAPH if larger else LARGEST_GRAPH
    return min(2 * limits.sequences * (1 + drafted), limits.batched_tokens, most)


def _captured(largest: int) -> int:
    """How many batch sizes are captured: 1, 2, 4, each 8th below 256 and each 16th from there."""
    few = sum(size <= largest for size in (1, 2, 4))
    return few + len(range(8, min(largest + 1, 256), 8)) + len(range(256, largest + 1, 16))


def _element(model: ServedModel) -> int:
    return PLAIN_BYTES[model.dtype]
