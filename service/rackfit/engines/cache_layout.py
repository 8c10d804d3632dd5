"""How many bytes each kind of layer keeps of a sequence: the arithmetic of the layout.

Engines differ in block sizes, row layouts and padding; they start from these terms.
"""

from collections.abc import Iterable
from fractions import Fraction
from math import lcm

import msgspec

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    GroupedAttention,
    Indexer,
    LatentAttention,
    RecurrentAttention,
)

KV_DTYPES: dict[str, tuple[int, int]] = {
    "f32": (4, 1),
    "bf16": (2, 1),
    "f16": (2, 1),
    "fp8": (1, 1),
    "int8": (1, 1),
    "q8_0": (34, 32),  # llama.cpp block_q8_0: 32 elements and one f16 scale
    "q4_0": (18, 32),  # llama.cpp block_q4_0
    "nvfp4": (9, 16),  # 16 elements of 4 bits and one fp8 scale
}
"""Bytes and the elements they hold, for each KV cache type."""

KV_DTYPE_ALIASES: dict[str, str] = {
    "float32": "f32",
    "fp32": "f32",
    "bfloat16": "bf16",
    "fp16": "f16",
    "float16": "f16",
    "half": "f16",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_ds_mla": "fp8",
}

PLAIN_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
SCALED = 128  # elements of a sparse latent row in fp8 that share an f32 scale
INDEXER_ROW_EXTRA = 4  # one f32 scale a row of fp8 indexer keys (DeepSeek-V3.2)
COMPRESSED_FP8_EXTRA = 8  # V4: seven ue8m0 scales of 64 elements, padded to eight bytes
OVERLAPPING_RATIO = 4  # V4's rows of ratio 4 overlap, those of ratio 128 do not


class CacheTerm(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is kept of one sequence on one rank, by one layer or by several alike.

    `row_bytes` for each cached row: one row a `ratio` tokens, at most `window` tokens back
    (None: all). Tokens are kept in whole blocks of `block`, and `spare_blocks` more where a
    window need not begin with a block. `constant_bytes` once a sequence.
    """

    row_bytes: int = 0
    ratio: int = 1
    window: int | None = None
    constant_bytes: int = 0
    block: int = 1
    spare_blocks: int = 0

    def sequence_bytes(self, tokens: int) -> int:
        """Bytes of a sequence of `tokens` tokens."""
        seen = tokens if self.window is None else min(tokens, self.window)
        held = (-(-seen // self.block) + self.spare_blocks) * self.block
        return self.row_bytes * (held // self.ratio) + self.constant_bytes


def sequence_bytes(terms: Iterable[CacheTerm], tokens: int) -> int:
    """Bytes that all `terms` keep of a sequence of `tokens` tokens."""
    return sum(term.sequence_bytes(tokens) for term in terms)


def bytes_per_token(terms: Iterable[CacheTerm]) -> Fraction:
    """Marginal bytes of one more token, beyond every window."""
    growing = [t for t in terms if t.window is None]
    ratio = lcm(*[t.ratio for t in growing])
    return Fraction(sum([t.row_bytes * (ratio // t.ratio) for t in growing]), ratio)


def merged(
    counted: Iterable[tuple[int, Iterable[CacheTerm]]], block: int = 1
) -> tuple[CacheTerm, ...]:
    """Add up the terms of several layers, `(how many, terms of one)`, alike ones together.

    All are kept in blocks of `block` tokens.
    """
    rows: dict[tuple[int, int | None], int] = {}
    constant = 0
    for count, terms in counted:
        for term in terms:
            shape = (term.ratio, term.window)
            rows[shape] = rows.get(shape, 0) + count * term.row_bytes
            constant += count * term.constant_bytes
    summed = [
        CacheTerm(row_bytes=r, ratio=q, window=w, block=block) for (q, w), r in rows.items() if r
    ]
    return (*summed, CacheTerm(constant_bytes=constant)) if constant else tuple(summed)


def row_bytes(elements: int, kv_cache_dtype: str) -> int:
    """Bytes of one row of `elements` in a KV cache type."""
    held, per = KV_DTYPES[kv_cache_dtype]
    return -(-elements * held // per)


def grouped_terms(
    attention: GroupedAttention, kv_cache_dtype: str, tensor: int
) -> tuple[CacheTerm, ...]:
    """Keys and values of the KV heads one of `tensor` ranks holds, at least one head.

    A sparse layer's indexer adds its key, whole on every rank (MiniMax M3).
    """
    if attention.shares_cache:
        return ()
    heads = max(1, -(-attention.kv_heads // tensor))
    row = row_bytes(heads * (attention.key_width + attention.value_width), kv_cache_dtype)
    if attention.indexer is not None:
        row += row_bytes(attention.indexer.width, kv_cache_dtype)
    return (CacheTerm(row_bytes=row, window=attention.window),)


def latent_terms(attention: LatentAttention, kv_cache_dtype: str) -> tuple[CacheTerm, ...]:
    """One latent row a token, whole on every tensor rank, and the indexer's key beside it."""
    row = row_bytes(attention.latent_width + attention.rope_width, kv_cache_dtype)
    if attention.indexer is not None:
        row += indexer_row_bytes(attention.indexer)
    return (CacheTerm(row_bytes=row),)


def indexer_key_bytes(indexer: Indexer) -> int:
    """One fp8 key and its f32 scale (132 B for DeepSeek-V3.2)."""
    return indexer.width + INDEXER_ROW_EXTRA


def indexer_row_bytes(indexer: Indexer) -> int:
    """A cached row's part of a key, which several may share.

    Source: SGLang pool_configurator.py, _compute_dsa_indexer_cell_size; vLLM
    v1/attention/backends/mla/indexer.py, whose blocks hold a key for each pool.
    """
    return -(-indexer_key_bytes(indexer) // indexer.pool)


def sparse_row_bytes(attention: LatentAttention) -> int:
    """One fp8 row of sparse latent attention: 656 B for DeepSeek-V3.2, and an indexer's key.

    The latent row in fp8 with an f32 scale every 128, the rotary part in 16 bits (vLLM
    MLAAttentionSpec, fp8_ds_mla; SGLang calculate_mla_kv_cache_dim).
    """
    scales = -(-attention.latent_width // SCALED) * PLAIN_BYTES["f32"]
    row = attention.latent_width + scales + attention.rope_width * PLAIN_BYTES["bf16"]
    return row + (indexer_row_bytes(attention.indexer) if attention.indexer else 0)


def compressed_row_bytes(attention: CompressedAttention, kv_cache_dtype: str) -> int:
    """One row: in fp8 its rotary part stays in 16 bits (448 + 128 + 8 = 584 B for V4)."""
    if kv_cache_dtype != "fp8":
        return row_bytes(attention.row_width, kv_cache_dtype)
    plain = attention.row_width - attention.rope_width
    return plain + attention.rope_width * PLAIN_BYTES["bf16"] + COMPRESSED_FP8_EXTRA


def compressor_state_bytes(width: int, ratio: int) -> int:
    """The f32 keys and gates a compressor holds until a row is full.

    Overlapping rows keep twice the tokens at twice the width, as the shape of the
    compressor's position bias shows (DeepSeek-V4: ratio x 512 and 4 x 1024).
    """
    overlap = 2 if ratio == OVERLAPPING_RATIO else 1
    return 2 * (overlap * ratio) * (overlap * width) * PLAIN_BYTES["f32"]


def compressed_terms(attention: CompressedAttention, kv_cache_dtype: str) -> tuple[CacheTerm, ...]:
    """The window's rows, the compressed rows, the indexer's keys and the compressors' state."""
    row = compressed_row_bytes(attention, kv_cache_dtype)
    window = CacheTerm(row_bytes=row, window=attention.window)
    if not attention.ratio:
        return (window,)
    state = compressor_state_bytes(attention.row_width, attention.ratio)
    if attention.indexer is not None:
        row += indexer_row_bytes(attention.indexer)
        state += compressor_state_bytes(attention.indexer.width, attention.ratio)
    return (window, CacheTerm(row_bytes=row, ratio=attention.ratio, constant_bytes=state))


def recurrent_terms(
    attention: RecurrentAttention, dtype: str, tensor: int
) -> tuple[CacheTerm, ...]:
    """The state of one sequence, divided over heads; no bytes a token."""
    convolution = attention.convolution_elements * PLAIN_BYTES[dtype]
    state = attention.state_elements * PLAIN_BYTES[attention.state_dtype]
    divisor = min(tensor, attention.heads)
    return (CacheTerm(constant_bytes=-(-(convolution + state) // divisor)),)


def layer_terms(
    attention: Attention | None, *, kv_cache_dtype: str, dtype: str, tensor: int
) -> tuple[CacheTerm, ...]:
    """The cache terms of one layer on one of `tensor` ranks."""
    match attention:
        case None:
            return ()
        case GroupedAttention():
            return grouped_terms(attention, kv_cache_dtype, tensor)
        case LatentAttention():
            return latent_terms(attention, kv_cache_dtype)
        case CompressedAttention():
            return compressed_terms(attention, kv_cache_dtype)
        case RecurrentAttention():
            return recurrent_terms(attention, dtype, tensor)
