"""vLLM's KV cache: pages of one size, dealt out to groups of alike layers.

A model whose layers all see everything has one group. A hybrid model's layers are put into
groups of equally many layers, each group with a block table of its own, all drawing blocks from
one pool; pages are made equal by longer blocks. Source: vLLM vllm/v1/core/kv_cache_utils.py,
get_kv_cache_groups and get_max_concurrency_for_kv_cache_config.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rackfit.architecture.model import Attention, CompressedAttention, LatentAttention
from rackfit.engines.cache_layout import CacheTerm, layer_terms, sparse_row_bytes
from rackfit.engines.cache_pool import StageCache
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.vllm.compressed_pages import compressed_cache

BLOCK = 16
"""Tokens of a block where the model asks for no other (CacheConfig.block_size)."""

NEARLY_EVEN = 1.25
"""Kinds of layers whose counts differ by less share the larger as their group size."""


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """Alike layers: bytes a token (or of a state), how far back they see, and how many.

    `layers` counts them in the whole model, `here` on the stage.
    """

    token_bytes: int
    state_bytes: int
    window: int | None
    layers: int
    here: int

    def groups(self, size: int) -> int:
        """Groups of `size` layers of the whole model that these layers fill."""
        return -(-self.layers // size)


def stage_cache(
    model: ServedModel,
    split: Split,
    counts: Sequence[int],
    batched_tokens: int,
    *,
    hybrid: bool,
    by_request: bool,
) -> StageCache:
    """Lay out the cache of a stage with `counts` layers of each kind.

    Without `hybrid` groups every layer keeps all tokens, as vLLM did before 0.10; `by_request`
    is how its log counts tokens since 0.20 (get_kv_cache_capacity).
    """
    if any(isinstance(kind.attention, CompressedAttention) for kind in model.kinds):
        return compressed_cache(model, counts, batched_tokens)
    pages = _pages(model, split, counts, hybrid=hybrid)
    if len({(bool(p.state_bytes), p.window) for p in pages}) > 1:
        grouped = _grouped(pages, batched_tokens)
        return msgspec.structs.replace(grouped, by_request=by_request)
    terms = tuple(
        _term(p, p.here * (p.token_bytes or p.state_bytes), BLOCK, batched_tokens) for p in pages
    )
    return StageCache(
        terms=tuple(_alike(terms)),
        block_tokens=BLOCK,
        block_bytes=BLOCK * sum(p.here * p.token_bytes for p in pages),
    )


def _pages(model: ServedModel, split: Split, counts: Sequence[int], *, hybrid: bool) -> list[Pages]:
    """Gather layers that keep the same, in order of first appearance."""
    found: dict[tuple[int, int, int | None], list[int]] = {}
    for number, kind in enumerate(model.kinds):
        for token, state, window in _kept(model, kind.attention, split):
            shape = (token, state, window if hybrid else None)
            tally = found.setdefault(shape, [0, 0])
            tally[0] += model.kind_counts[number]
            tally[1] += counts[number]
    return [
        Pages(token_bytes=token, state_bytes=state, window=window, layers=layers, here=here)
        for (token, state, window), (layers, here) in found.items()
    ]


def _kept(
    model: ServedModel, attention: Attention | None, split: Split
) -> Iterator[tuple[int, int, int | None]]:
    """What one layer keeps: bytes a token, of a state, and its window; nothing if it shares."""
    if isinstance(attention, LatentAttention) and attention.top_k and model.kv_cache_dtype == "fp8":
        yield sparse_row_bytes(attention), 0, None
        return
    terms = layer_terms(
        attention,
        kv_cache_dtype=model.kv_cache_dtype,
        dtype=model.dtype,
        tensor=split.tensor,
    )
    for term in terms:
        yield term.row_bytes, term.constant_bytes, term.window


def _grouped(pages: Sequence[Pages], batched_tokens: int) -> StageCache:
    """Groups of equally many layers over one pool of blocks."""
    page = _page_bytes(pages)
    size = _group_size([p.layers for p in pages])
    depth = max(-(-p.here // p.groups(size)) for p in pages)
    blocks = [_block_tokens(p, page) for p in pages]
    terms = tuple(
        _term(p, p.groups(size) * depth * page, block, batched_tokens, whole_blocks=True)
        for p, block in zip(pages, blocks, strict=True)
    )
    return StageCache(
        terms=terms,
        block_tokens=min(b for p, b in zip(pages, blocks, strict=True) if p.token_bytes),
        block_bytes=depth * page,
        groups=sum(p.groups(size) for p in pages),
    )


def _page_bytes(pages: Sequence[Pages]) -> int:
    """The largest page of a layer; a state fits the page of enough plain blocks.

    Source: vLLM HybridAttentionMambaModelConfig.verify_and_update_config.
    """
    plain = BLOCK * max(p.token_bytes for p in pages)
    state = max(p.state_bytes for p in pages)
    return max(1, -(-state // plain)) * plain


def _block_tokens(pages: Pages, page: int) -> int:
    """Tokens of a block of `page` bytes; padded where no whole number of plain blocks fills it."""
    plain = BLOCK * pages.token_bytes
    return page // pages.token_bytes if plain and page % plain == 0 else BLOCK


def _group_size(counts: Sequence[int]) -> int:
    """Layers of a group: those of the rarest kind, or of the commonest where nearly even."""
    fewest, most = min(counts), max(counts)
    return most if most < fewest * NEARLY_EVEN else fewest


def _term(
    pages: Pages, size: int, block: int, batched_tokens: int, *, whole_blocks: bool = False
) -> CacheTerm:
    """Rows of `size` bytes, one a token or one a whole block; or a state of `size` bytes."""
    if pages.state_bytes:
        return CacheTerm(constant_bytes=size)
    window = pages.window
    return CacheTerm(
        row_bytes=size,
        ratio=block if whole_blocks else 1,
        block=block,
        window=None if window is None else held_tokens(window, batched_tokens),
        spare_blocks=int(window is not None),
    )


def held_tokens(window: int, batched_tokens: int) -> int:
    """Tokens a sliding layer holds while a batch passes (vLLM SlidingWindowSpec)."""
    return window - 1 + batched_tokens


def _alike(terms: Iterable[CacheTerm]) -> Iterator[CacheTerm]:
    """Terms of one window and block as one."""
    rows, last = 0, None
    for term in terms:
        rows, last = rows + term.row_bytes, term
    if last is not None:
        constant = sum(term.constant_bytes for term in terms)
        yield msgspec.structs.replace(last, row_bytes=rows, constant_bytes=constant)
