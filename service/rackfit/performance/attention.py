"""The core of attention on one rank: what it multiplies and reads for given contexts.

Projections are matrices like any other (layers.py); here is what grows with the context.
"""

from math import inf

import msgspec

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    GroupedAttention,
    Indexer,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.engines.cache_layout import (
    PLAIN_BYTES,
    compressed_row_bytes,
    indexer_key_bytes,
    row_bytes,
)

OPERATIONS = 2
"""A multiplication and an addition."""

STATE_OPERATIONS = 6
"""Operations an element of a recurrent state and token: decay, update and read-out."""


class Rows(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Cached rows a query attends: one every `ratio` tokens, the nearest or best `limit`.

    `decode_operations`, `prefill_operations` and `bytes` are those of one row and query.
    """

    ratio: int = 1
    limit: float = inf
    decode_operations: float
    prefill_operations: float
    bytes: float

    def seen(self, context: float) -> float:
        """Rows a query at the end of `context` tokens attends."""
        return min(context / self.ratio, self.limit)

    def passed(self, new: float, end: float) -> float:
        """Rows attended by all of the last `new` queries of a context of `end` tokens."""
        return self._area(end) - self._area(end - new)

    def _area(self, tokens: float) -> float:
        if tokens <= self.limit * self.ratio:
            return tokens * tokens / 2 / self.ratio
        return self.limit * (tokens - self.limit * self.ratio / 2)


class Core(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One layer's core on one rank: `rows` it attends, and what a recurrent state costs.

    A state is read and written, `state_bytes` a sequence and step. `partial` elements a token come
    out of attention to a part of the rows.
    """

    rows: tuple[Rows, ...] = ()
    partial: int = 0
    token_operations: float = 0
    state_bytes: float = 0

    @property
    def row_bytes(self) -> float:
        """Bytes of the rows one token adds."""
        return sum(r.bytes / r.ratio for r in self.rows)

    def decode_operations(self, context: float) -> float:
        """Operations of one query at the end of `context` tokens."""
        return self.token_operations + sum(r.decode_operations * r.seen(context) for r in self.rows)

    def decode_bytes(self, context: float) -> float:
        """Bytes read for one sequence of `context` tokens."""
        return self.state_bytes + sum(r.bytes * r.seen(context) for r in self.rows)

    def prefill_operations(self, new: float, end: float) -> float:
        """Operations of the last `new` queries of a context of `end` tokens."""
        return new * self.token_operations + sum(
            r.prefill_operations * r.passed(new, end) for r in self.rows
        )


def core_of(attention: Attention | None, *, kv_cache_dtype: str, dtype: str, tensor: int) -> Core:
    """The core of a layer on one of `tensor` ranks."""
    match attention:
        case None:
            return Core()
        case GroupedAttention():
            return _grouped(attention, kv_cache_dtype, tensor)
        case LatentAttention():
            return _latent(attention, kv_cache_dtype, tensor)
        case CompressedAttention():
            return _compressed(attention, kv_cache_dtype, tensor)
        case RecurrentAttention():
            return _recurrent(attention, dtype, tensor)


def _grouped(attention: GroupedAttention, kv_cache_dtype: str, tensor: int) -> Core:
    heads, kv_heads = -(-attention.heads // tensor), max(1, -(-attention.kv_heads // tensor))
    width = attention.key_width + attention.value_width
    chosen = attention.indexer.top_k if attention.indexer else inf
    rows = Rows(
        limit=min(attention.window or inf, chosen),
        decode_operations=OPERATIONS * heads * width,
        prefill_operations=OPERATIONS * heads * width,
        bytes=row_bytes(kv_heads * width, kv_cache_dtype),
    )
    partial = heads * attention.value_width
    return Core(rows=(rows, *_scans(attention.indexer)), partial=partial)


def _latent(attention: LatentAttention, kv_cache_dtype: str, tensor: int) -> Core:
    """Decoding multiplies the latent row itself (absorbed), prefill its expansion.

    Sparse prefill is absorbed too (FlashMLA's sparse kernels). Source: DeepSeek-V2 report, 2.1.
    """
    own = -(-attention.heads // tensor)
    heads = OPERATIONS * own
    latent = attention.latent_width + attention.rope_width
    absorbed = heads * (latent + attention.latent_width)
    expanded = heads * (attention.nope_width + attention.rope_width + attention.value_width)
    rows = Rows(
        limit=attention.top_k or inf,
        decode_operations=absorbed,
        prefill_operations=absorbed if attention.top_k else expanded,
        bytes=row_bytes(latent, kv_cache_dtype),
    )
    partial = own * attention.latent_width
    return Core(rows=(rows, *_scans(attention.indexer)), partial=partial)


def _compressed(attention: CompressedAttention, kv_cache_dtype: str, tensor: int) -> Core:
    """A window of whole tokens, and compressed rows: all of them, or those an indexer chose."""
    operations = OPERATIONS * -(-attention.heads // tensor) * 2 * attention.row_width
    size = compressed_row_bytes(attention, kv_cache_dtype)
    window = Rows(
        limit=attention.window,
        decode_operations=operations,
        prefill_operations=operations,
        bytes=size,
    )
    if not attention.ratio:
        return Core(rows=(window,))
    compressed = msgspec.structs.replace(
        window,
        ratio=attention.ratio,
        limit=attention.indexer.top_k if attention.indexer else inf,
    )
    return Core(rows=(window, compressed, *_scans(attention.indexer, attention.ratio)))


def _scans(indexer: Indexer | None, ratio: int = 1) -> tuple[Rows, ...]:
    """An indexer scores every key, whole on each tensor rank."""
    if indexer is None:
        return ()
    operations = OPERATIONS * indexer.heads * indexer.width
    return (
        Rows(
            ratio=ratio * indexer.pool,
            decode_operations=operations,
            prefill_operations=operations,
            bytes=indexer_key_bytes(indexer),
        ),
    )


def _recurrent(attention: RecurrentAttention, dtype: str, tensor: int) -> Core:
    parts = min(tensor, attention.heads)
    state = attention.state_elements * PLAIN_BYTES[attention.state_dtype]
    state += attention.convolution_elements * PLAIN_BYTES[dtype]
    return Core(
        token_operations=STATE_OPERATIONS * attention.state_elements / parts,
        state_bytes=2 * state / parts,
    )
