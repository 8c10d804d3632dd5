"""vLLM's cache for DeepSeek-V4: packed tuples of pages, shared by all kinds of rows.

Sources: vLLM vllm/models/deepseek_v4 (block sizes, alignment) and
vllm/v1/core/kv_cache_utils.py, _get_kv_cache_groups_uniform_groups. An allocation printed for
V4-Flash at block size 256 has pages of 37,440, 8,640 and 1,728 bytes and 22 tuples of them.
"""

from collections.abc import Sequence

import msgspec

from rackfit.architecture.model import CompressedAttention
from rackfit.engines.cache_layout import CacheTerm, compressed_row_bytes, indexer_row_bytes
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.served import ServedModel

BLOCK = 256
"""Tokens of a block of compressed rows."""

WINDOW_BLOCK = 64
STATE_BLOCKS = {4: 4, 128: 8}
"""Tokens of a block of compressor states, by ratio: what fits a page of rows."""

OVERLAP = {4: 2}
"""A compressor of this ratio looks back over so many of its groups."""

ALIGNMENT = 576
"""Pages are whole multiples of this (FlashMLA)."""


class Grouped(msgspec.Struct, frozen=True):
    """Layers whose rows share a window and a block: how many there are, in model and stage."""

    layers: int
    here: int
    window: int
    block: int


def compressed_cache(model: ServedModel, counts: Sequence[int], batched_tokens: int) -> StageCache:
    """Lay out the cache of a stage with `counts` layers of each kind.

    One group holds all compressed rows, the others the windows and the compressors' states,
    which vLLM counts as windows too; every block is as large as the group of rows needs.
    """
    layers = _compressed_layers(model, counts)
    tuples = _tuples(layers)
    size = _tuple_bytes(model, layers) * _tuples_here(layers, tuples)
    rows = CacheTerm(row_bytes=size, ratio=BLOCK, block=BLOCK)
    windows = [_term(grouped, tuples, size, batched_tokens) for grouped in _windows(layers)]
    groups = 1 + sum(-(-grouped.layers // tuples) for grouped in _windows(layers))
    return StageCache(
        terms=(rows, *windows), block_tokens=BLOCK, block_bytes=size, groups=groups, by_request=True
    )


Counted = tuple[CompressedAttention, int, int]
"""One kind of attention, its layers in the model and on the stage."""


def _compressed_layers(model: ServedModel, counts: Sequence[int]) -> list[Counted]:
    return [
        (kind.attention, model.kind_counts[number], counts[number])
        for number, kind in enumerate(model.kinds)
        if isinstance(kind.attention, CompressedAttention)
    ]


def _by_ratio(layers: Sequence[Counted]) -> dict[int, tuple[int, int]]:
    """Layers of each ratio, in the model and on the stage."""
    found: dict[int, tuple[int, int]] = {}
    for attention, count, here in layers:
        before, there = found.get(attention.ratio, (0, 0))
        found[attention.ratio] = (before + count, there + here)
    return found


def _windows(layers: Sequence[Counted]) -> list[Grouped]:
    """The window of every layer, and the states of each ratio's compressors."""
    window = max(attention.window for attention, _, _ in layers)
    every = Grouped(
        sum(n for _, n, _ in layers), sum(h for _, _, h in layers), window, WINDOW_BLOCK
    )
    states = [
        Grouped(count, here, OVERLAP.get(ratio, 1) * ratio, STATE_BLOCKS.get(ratio, WINDOW_BLOCK))
        for ratio, (count, here) in _by_ratio(layers).items()
        if ratio
    ]
    return [every, *states]


def _tuples(layers: Sequence[Counted]) -> int:
    """How many tuples of pages a block has: fewest that waste least over all groups."""
    counts = [grouped.layers for grouped in _windows(layers)]
    first = max((n for ratio, (n, _) in _by_ratio(layers).items() if ratio), default=1)
    wasted = {d: sum(-n % d for n in (first, *counts)) for d in range(first, max(counts) + 1)}
    return min(wasted, key=lambda d: (wasted[d], -d))


def _tuples_here(layers: Sequence[Counted], tuples: int) -> int:
    """Tuples of a stage that holds a part of the layers."""
    return max(-(-g.here // -(-g.layers // tuples)) for g in _windows(layers))


def _tuple_bytes(model: ServedModel, layers: Sequence[Counted]) -> int:
    """One page of each size: rows of every ratio, and the indexer's keys."""
    pages = {}
    for attention, _, _ in layers:
        if attention.ratio:
            row = compressed_row_bytes(attention, model.kv_cache_dtype)
            pages[attention.ratio, "rows"] = _aligned(BLOCK // attention.ratio * row)
        if attention.indexer is not None:
            key = indexer_row_bytes(attention.indexer)
            pages[attention.ratio, "keys"] = _aligned(BLOCK // attention.ratio * key)
    return sum(pages.values()) or _aligned(1)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _term(grouped: Grouped, tuples: int, size: int, batched_tokens: int) -> CacheTerm:
    groups = -(-grouped.layers // tuples)
    return CacheTerm(
        row_bytes=groups * size,
        ratio=grouped.block,
        block=grouped.block,
        window=grouped.window - 1 + batched_tokens,
        spare_blocks=1,
    )
