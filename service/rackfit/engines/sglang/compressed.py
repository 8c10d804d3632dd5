"""SGLang's pools for DeepSeek-V4: compressed rows, a tenth as many tokens of windows, states.

Source: sglang/srt/model_executor/pool_configurator.py, DSV4PoolConfigurator, and
mem_cache/deepseek_v4_memory_pool.py of 0.5.12 and 0.5.23; `--swa-full-tokens-ratio` is 0.1 for
these models.
"""

from collections.abc import Sequence

from rackfit.architecture.model import CompressedAttention
from rackfit.engines.cache_layout import (
    OVERLAPPING_RATIO,
    CacheTerm,
    compressed_row_bytes,
    compressed_terms,
    indexer_row_bytes,
)
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.choice import EngineChoice
from rackfit.engines.served import ServedModel
from rackfit.engines.version import Version

PAGE = 256
"""Tokens of a page."""

ALIGNMENT = 576
"""Pages of rows in fp8 are whole multiples of this (FlashMLA)."""

WINDOW_PARTS = 10
"""Tokens of the compressed rows' pool for each of the windows'."""

DRAFTING_RINGS = 2
"""Rings of states are twice as long where drafted tokens may be taken back: 16 and 256 tokens.

Source: get_compress_state_ring_size of 0.5.14 and 0.5.23.
"""

STATES_BY_REQUEST: Version = (0, 5, 16)
"""From here states of long compression are a request's; before, a page of the windows' had one."""


def compressed_cache(
    version: Version, choice: EngineChoice, model: ServedModel, counts: Sequence[int]
) -> StageCache:
    """The cache of a stage with `counts` layers of each kind, in pages of 256 tokens."""
    pages = states = 0
    rings = DRAFTING_RINGS if choice.speculative_tokens else 1
    for kind, count in zip(model.kinds, counts, strict=True):
        if isinstance(kind.attention, CompressedAttention):
            page, state = _layer(version, kind.attention, model.kv_cache_dtype, rings)
            pages, states = pages + count * page, states + count * state
    rows = CacheTerm(row_bytes=-(-pages // WINDOW_PARTS), ratio=PAGE, block=PAGE)
    return StageCache(terms=(rows, CacheTerm(constant_bytes=states)), block_tokens=PAGE)


def _layer(
    version: Version, attention: CompressedAttention, dtype: str, rings: int
) -> tuple[int, int]:
    """Ten times the bytes of a layer that a page of tokens takes, and those of a request.

    A compressor's state is kept `rings` times.
    """
    row = compressed_row_bytes(attention, dtype)
    window = _page(PAGE * row, dtype)
    state = rings * sum(term.constant_bytes for term in compressed_terms(attention, dtype))
    by_request = attention.ratio != OVERLAPPING_RATIO and version >= STATES_BY_REQUEST
    pages = window if by_request else window + state
    if attention.ratio:
        held = PAGE // attention.ratio
        pages += WINDOW_PARTS * _page(held * row, dtype)
        if attention.indexer is not None:
            pages += WINDOW_PARTS * held * indexer_row_bytes(attention.indexer)
    return pages, state if by_request else 0


def _page(size: int, dtype: str) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT if dtype == "fp8" else size
