"""What each kind of layer keeps of a sequence, against figures engines and papers give."""

from fractions import Fraction

import pytest

from rackfit.architecture.model import (
    Attention,
    CompressedAttention,
    GroupedAttention,
    Indexer,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.engines.cache_layout import (
    KV_DTYPES,
    CacheTerm,
    bytes_per_token,
    layer_terms,
    merged,
    sequence_bytes,
)

CARD = GroupedAttention(heads=64, kv_heads=8, key_width=128, value_width=128)
V3 = LatentAttention(heads=128, latent_width=512, rope_width=64, nope_width=128, value_width=128)
INDEXER = Indexer(heads=64, width=128, top_k=1024)


def terms(attention: Attention, dtype: str = "bf16", tensor: int = 1) -> tuple[CacheTerm, ...]:
    """Cache terms of one layer of a 16-bit model."""
    return layer_terms(attention, kv_cache_dtype=dtype, dtype="bf16", tensor=tensor)


def test_card_keeps_two_rows_of_every_kv_head() -> None:
    """The public card's formula: 2 x kv_heads x head_dim x 2 bytes a token and layer."""
    assert bytes_per_token(terms(CARD)) == 2 * 8 * 128 * 2


@pytest.mark.parametrize(("tensor", "heads"), [(1, 8), (2, 4), (8, 1), (16, 1), (64, 1)])
def test_kv_heads_are_divided_and_then_repeated(tensor: int, heads: int) -> None:
    """A rank never keeps less than one KV head, however many ranks there are."""
    assert bytes_per_token(terms(CARD, tensor=tensor)) == heads * 2 * 128 * 2


@pytest.mark.parametrize("tensor", [1, 8, 16])
def test_latent_row_is_whole_on_every_tensor_rank(tensor: int) -> None:
    """DeepSeek-V3 keeps 576 elements a token and layer on each rank, whatever TP is."""
    assert bytes_per_token(terms(V3, tensor=tensor)) == 576 * 2


def test_sparse_latent_attention_adds_an_indexer_row() -> None:
    """V3.2's indexer keeps 128 fp8 elements and an f32 scale beside the latent row."""
    sparse = LatentAttention(
        heads=128,
        latent_width=512,
        rope_width=64,
        nope_width=128,
        value_width=128,
        indexer=INDEXER,
    )
    assert bytes_per_token(terms(sparse, "fp8")) == 576 + 132


def test_published_v4_pro_keeps_about_5500_bytes_a_token() -> None:
    """30 CSA layers at ratio 4, 31 HCA at ratio 128, 584 B a row, 132 B an indexer key."""
    geometry = {"heads": 128, "row_width": 512, "rope_width": 64, "window": 128}
    csa = CompressedAttention(**geometry, ratio=4, indexer=INDEXER)
    hca = CompressedAttention(**geometry, ratio=128)
    layers = merged([(30, terms(csa, "fp8")), (31, terms(hca, "fp8"))])
    assert bytes_per_token(layers) == Fraction(30 * (584 + 132), 4) + Fraction(31 * 584, 128)


def test_compressed_cache_is_affine_in_context() -> None:
    """Beyond the window a token adds the same; before it stands a constant a sequence."""
    csa = CompressedAttention(
        heads=128, row_width=512, rope_width=64, ratio=4, window=128, indexer=INDEXER
    )
    kept = terms(csa, "fp8")
    steps = {sequence_bytes(kept, n + 4) - sequence_bytes(kept, n) for n in range(128, 4096, 4)}
    assert steps == {584 + 132}
    assert sequence_bytes(kept, 0) > 0


def test_window_stops_growing() -> None:
    """A sliding layer keeps at most its window."""
    sliding = GroupedAttention(heads=16, kv_heads=8, key_width=256, value_width=256, window=1024)
    kept = terms(sliding)
    assert sequence_bytes(kept, 1024) == sequence_bytes(kept, 262_144)
    assert bytes_per_token(kept) == 0


def test_gemma_4_at_tp8_keeps_what_its_peer_computed() -> None:
    """25 sliding layers of 8 KV heads and 5 full ones of 2, at TP8 and 262,144 tokens."""
    sliding = GroupedAttention(heads=16, kv_heads=8, key_width=256, value_width=256, window=1024)
    full = GroupedAttention(heads=16, kv_heads=2, key_width=512, value_width=512)
    layers = merged([(25, terms(sliding, tensor=8)), (5, terms(full, tensor=8))])
    assert sequence_bytes(layers, 262_144) == 2_710_568_960


def test_recurrent_state_is_kept_once_a_sequence() -> None:
    """Linear attention costs nothing a token and its state is divided over heads."""
    linear = RecurrentAttention(heads=32, convolution_elements=1000, state_elements=4096)
    assert bytes_per_token(terms(linear)) == 0
    assert sequence_bytes(terms(linear, tensor=4), 10**6) == (1000 * 2 + 4096 * 4) // 4


def test_shared_cache_is_kept_by_the_layer_it_is_borrowed_from() -> None:
    """A layer that reads an earlier layer's cache keeps none."""
    borrowing = GroupedAttention(
        heads=8, kv_heads=2, key_width=256, value_width=256, shares_cache=True
    )
    assert terms(borrowing) == ()


@pytest.mark.parametrize(("dtype", "expected"), [("q8_0", 34 / 32), ("q4_0", 18 / 32)])
def test_llama_cpp_rows_carry_their_scales(dtype: str, expected: float) -> None:
    """llama.cpp's blocks of 32 elements hold an f16 scale each."""
    held, per = KV_DTYPES[dtype]
    assert held / per == expected


def test_merged_terms_equal_their_sum() -> None:
    """Adding up layers first gives the bytes of the layers one by one."""
    some = [(3, (CacheTerm(row_bytes=7),)), (2, (CacheTerm(row_bytes=5, constant_bytes=11),))]
    together = sequence_bytes(merged(some), 100)
    assert together == 3 * 700 + 2 * (500 + 11)
