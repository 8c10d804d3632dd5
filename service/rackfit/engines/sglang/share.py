"""SGLang's default `--mem-fraction-static`: what it leaves beside weights and cache.

Source: sglang/srt/server_args.py (_handle_gpu_memory_settings, adjust_mem_fraction_for_vlm) of
0.4.9 to 0.5.18 and arg_groups/memory_hook.py, cuda_graph_hook.py of 0.5.20 and 0.5.23. Sizes are
MiB, as there, and a device's are those that nvidia-smi prints (get_nvgpu_memory_capacity).
"""

from collections.abc import Iterable
from typing import NamedTuple

from rackfit.architecture.model import (
    CompressedAttention,
    LatentAttention,
    RecurrentAttention,
    Vision,
)
from rackfit.engines.choice import EngineChoice
from rackfit.engines.hardware import AMD, BLACKWELL, INTEL
from rackfit.engines.served import ServedModel
from rackfit.engines.sglang.paging import TRTLLM_LATENT
from rackfit.engines.start import Start
from rackfit.engines.terms import kernels
from rackfit.engines.version import Version

MIB = 1 << 20
GIB = 1 << 30


class Tier(NamedTuple):
    """Devices below `reported` bytes: tokens of a chunk, largest batch of a graph."""

    reported: int
    chunk: int
    narrow: int
    """Below TP4."""
    wide: int
    """From TP4 on."""


TIERS = (
    Tier(20 * GIB, 2048, 8, 8),
    Tier(35 * GIB, 4096, 48, 160),
    Tier(60 * GIB, 4096, 32, 160),
    Tier(160 * GIB, 8192, 256, 512),
    Tier(1 << 62, 16384, 512, 512),
)
SMALL_BEFORE: Version = (0, 5, 20)
SMALL_THEN = Tier(35 * GIB, 2048, 24, 80)
"""The second tier before that version."""

WIDE = 4
"""Tensor ranks from which graphs are captured for larger batches."""

LEAST_CHUNK = 2048
"""Tokens of a chunk that memory is set apart for, however short the caller's are."""

FLOOR_FROM, FLOOR_MIB = 60 * GIB, 10 * 1024
"""Larger devices keep at least 10 GiB apart."""

MANY_GRAPHS = 300
"""Graphs of larger batches take half as much again with attention DP."""

PROMPT_GRAPHS: Version = (0, 5, 10)
"""From here the passes that read prompts are graphs too (piecewise, since 0.5.16 breakable)."""

BREAKABLE: Version = (0, 5, 16)
LATENT_GRAPHS_MIB, GRAPH_MIB = 1536, 8

AITER: Version = (0, 5, 6)
AITER_CONTEXT, AITER_SHARE, AITER_HEADS = 8192, 0.85, (16, 128)
"""From here on AMD, for longer contexts, 0.85 of any share is used (attention_hook.py).

The kernels are those for full attention and for latent one of so many heads.
"""

DRAFTING_MIB = (((0, 5, 10), 2048), ((0, 5, 14), 4096))
"""What drafting sets apart before a version; nothing since."""

BY_TOWER: Version = (0, 4, 10)
"""From here the share of models with a vision tower falls with its size; before, to 0.9 of it."""

LESS_BEFORE, LESS = 0.9, 0.95
TOWER_LAYERS, TOWER_WIDTH, SLOPE = 24, 1024, 0.1
LEAST_FACTOR, MOST_FACTOR = 0.8, 1.05
DIGITS = 6  # that a launch prints of a share

TEXT_ALONE = frozenset(
    {
        "Gemma3ForConditionalGeneration",
        "Llama4ForConditionalGeneration",
        "Step3VLForConditionalGeneration",
    }
)
"""Served without their towers unless `--enable-multimodal` is given (configs/model_config.py)."""

NOT_PIECEWISE = frozenset({"DeepseekV4ForCausalLM", "Qwen3NextForCausalLM"})
PIECEWISE_WITH_TOWER = frozenset({"KimiK25ForConditionalGeneration"})
BREAKABLE_WITH_TOWER = frozenset(
    {
        "KimiK25ForConditionalGeneration",
        "KimiK3ForConditionalGeneration",
        "MiniMaxM3SparseForConditionalGeneration",
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5MoeForConditionalGeneration",
    }
)
"""Models whose prompts graphs do not read, and those with towers whose they do (same file)."""


def tier(version: Version, reported: int) -> Tier:
    """What SGLang prepares for on a device of `reported` bytes."""
    found = next(tier for tier in TIERS if reported < tier.reported)
    small = version < SMALL_BEFORE and found.reported == SMALL_THEN.reported
    return SMALL_THEN if small else found


def static_share(version: Version, choice: EngineChoice, start: Start) -> float:
    """The share left for weights and cache: in whole per mille, before a tower lowers it."""
    reserved = _reserved_mib(version, choice, start)
    share = round(1 - reserved * MIB / start.reported, 3)
    return max(round(share * _tower_factor(version, start.model), DIGITS), 0.05)


def kept_share(version: Version, start: Start) -> float:
    """What SGLang leaves of the share it is given: AMD's attention kernels need the rest."""
    needed = version >= AITER and start.context_tokens > AITER_CONTEXT and _by_aiter(start)
    return AITER_SHARE if needed else 1


def _by_aiter(start: Start) -> bool:
    """Tell whether attention is AITER's: full, or latent of 16 or 128 heads a rank."""
    ranks = start.split.stage_ranks
    kinds = [kind.attention for kind in start.model.kinds]
    return start.accelerator.generation in AMD and all(
        attention.heads // ranks in AITER_HEADS and attention.top_k is None
        if isinstance(attention, LatentAttention)
        else not isinstance(attention, CompressedAttention)
        for attention in kinds
    )


def _reserved_mib(version: Version, choice: EngineChoice, start: Start) -> float:
    """512, 1.5 a token of a chunk, 1,024 for every eight ranks, graphs; a floor; drafting."""
    model, split, reported = start.model, start.split, start.reported
    sizes, ranks = tier(version, reported), split.stage_ranks
    graphs = sizes.narrow if ranks < WIDE else sizes.wide
    chunk = choice.max_batched_tokens or sizes.chunk
    reserved = 512 + max(chunk, LEAST_CHUNK) * 1.5 + ranks * split.pipeline / 8 * 1024
    reserved += graphs * 2
    if split.data > 1:
        reserved += graphs * split.data * (4.5 if graphs > MANY_GRAPHS else 3)
    if version >= PROMPT_GRAPHS and _reads_by_graphs(version, choice, start):
        reserved += _prompt_graphs_mib(model, chunk)
    if reported > FLOOR_FROM:
        reserved = max(reserved, FLOOR_MIB)
    drafting = next((mib for until, mib in DRAFTING_MIB if version < until), 0)
    return reserved + (drafting if choice.speculative_tokens else 0)


def _reads_by_graphs(version: Version, choice: EngineChoice, start: Start) -> bool:
    """Tell whether prompts are read by graphs: by what each of their two kinds cannot do."""
    model, split = start.model, start.split
    name, seen = model.architecture.name, _seen(model)
    if split.pipeline > 1 or start.accelerator.generation in AMD | INTEL:
        return False
    if version < BREAKABLE:
        apart = split.data > 1 or choice.lora_slots or choice.redundant_experts
        allowed = name not in NOT_PIECEWISE if seen is None else name in PIECEWISE_WITH_TOWER
        return allowed and not apart
    kinds = {type(kind.attention) for kind in model.kinds}
    linear_latent = {LatentAttention, RecurrentAttention} <= kinds
    if linear_latent or CompressedAttention in kinds or split.decode_context > 1:
        return False
    if name in TRTLLM_LATENT and kernels(start.accelerator) in BLACKWELL:
        return False  # trtllm_mla reads prompts faster without (cuda_graph_hook.py)
    return seen is None or name in BREAKABLE_WITH_TOWER


def _prompt_graphs_mib(model: ServedModel, chunk: int) -> int:
    """8 for each captured number of tokens, or all at once where attention is latent."""
    if any(isinstance(kind.attention, LatentAttention) for kind in model.kinds):
        return LATENT_GRAPHS_MIB
    return GRAPH_MIB * sum(1 for tokens in _captured(chunk) if tokens <= chunk)


def _captured(chunk: int) -> Iterable[int]:
    """Numbers of tokens that are captured, in ever larger steps."""
    yield from range(4, 33, 4)
    yield from range(48, 257, 16)
    yield from range(288, 513, 32)
    yield from range(576, 1025, 64)
    yield from range(1280, 4097, 256)
    yield from range(4608, chunk + 1, 512)


def _seen(model: ServedModel) -> Vision | None:
    """The tower that is served, if any."""
    architecture = model.architecture
    return None if architecture.name in TEXT_ALONE else architecture.vision


def _tower_factor(version: Version, model: ServedModel) -> float:
    """What is left of the share: less for each tower of the size of ViT-L/14 beyond the first."""
    seen = _seen(model)
    if seen is None:
        return 1
    if version < BY_TOWER:
        return LESS_BEFORE
    layers, width = seen.layers or TOWER_LAYERS, seen.width or TOWER_WIDTH
    size = layers * width**2 / (TOWER_LAYERS * TOWER_WIDTH**2)
    return LESS * max(LEAST_FACTOR, min(MOST_FACTOR, 1 - SLOPE * (size - 1)))
