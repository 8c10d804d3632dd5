"""Rows a query attends, and what experts get of an uneven load."""

import pytest

from rackfit.architecture.model import (
    CompressedAttention,
    GroupedAttention,
    Indexer,
    LatentAttention,
    RecurrentAttention,
)
from rackfit.performance.attention import Rows, core_of
from rackfit.performance.experts import hottest, touched_share


def rows(limit: float, ratio: int = 1) -> Rows:
    """Rows of one operation and byte each."""
    return Rows(ratio=ratio, limit=limit, decode_operations=1, prefill_operations=1, bytes=1)


def test_every_query_sees_what_came_before_it() -> None:
    """A whole prompt of n tokens attends n^2 / 2 rows, its second half three quarters of them."""
    unbounded = rows(float("inf"))

    assert 50 == unbounded.passed(10, 10)
    assert 37.5 == unbounded.passed(5, 10)


def test_a_window_makes_attention_linear() -> None:
    """Beyond its window each query sees the window alone."""
    assert 4 * 8 == rows(4).passed(8, 100)
    assert 4 == rows(4).seen(100)
    assert 3 == rows(4).seen(3)


def test_compressed_rows_are_fewer() -> None:
    """One row stands for `ratio` tokens, up to the chosen ones."""
    assert 25 == rows(float("inf"), ratio=4).seen(100)
    assert 10 == rows(10, ratio=4).seen(100)


def test_grouped_attention_divides_over_tensor_ranks() -> None:
    """Operations follow the query heads, bytes the KV heads until one is left."""
    attention = GroupedAttention(heads=32, kv_heads=4, key_width=128, value_width=128)
    one, eight = (core_of(attention, kv_cache_dtype="bf16", dtype="bf16", tensor=t) for t in (1, 8))

    assert 1000 * 2 * 32 * 256 == one.decode_operations(1000)
    assert one.decode_operations(1000) == 8 * eight.decode_operations(1000)
    assert 1000 * 4 * 256 * 2 == one.decode_bytes(1000)
    assert one.decode_bytes(1000) == 4 * eight.decode_bytes(1000)


def test_latent_attention_reads_one_row_on_every_rank() -> None:
    """DeepSeek-V3 decodes on 576 latent elements a token, whole under tensor parallelism."""
    attention = LatentAttention(
        heads=128, latent_width=512, rope_width=64, nope_width=128, value_width=128
    )
    core = core_of(attention, kv_cache_dtype="bf16", dtype="bf16", tensor=8)

    assert 576 * 2 * 1000 == core.decode_bytes(1000)
    assert 2 * 16 * (576 + 512) * 1000 == core.decode_operations(1000)
    assert 2 * 16 * (128 + 64 + 128) * 50 == core.prefill_operations(10, 10)


def test_sparse_attention_reads_its_choice_and_scans_the_keys() -> None:
    """DeepSeek-V3.2 reads 2,048 rows of any context, and an indexer key of each token."""
    attention = LatentAttention(
        heads=128,
        latent_width=512,
        rope_width=64,
        nope_width=128,
        value_width=128,
        indexer=Indexer(heads=64, width=128, top_k=2048),
        top_k=2048,
    )
    core = core_of(attention, kv_cache_dtype="bf16", dtype="bf16", tensor=1)

    assert 2048 * 576 * 2 + 100_000 * 132 == core.decode_bytes(100_000)


def test_compressed_attention_reads_its_window_and_compressed_rows() -> None:
    """DeepSeek-V4 reads 584 B a row in fp8: 128 of the window, and one for `ratio` tokens."""
    attention = CompressedAttention(heads=64, row_width=512, rope_width=64, ratio=128, window=128)
    core = core_of(attention, kv_cache_dtype="fp8", dtype="bf16", tensor=1)

    assert 584 * (128 + 100) == core.decode_bytes(12_800)


def test_recurrent_attention_costs_the_same_at_any_context() -> None:
    """A state is read and written, however much came before."""
    attention = RecurrentAttention(heads=8, convolution_elements=100, state_elements=1000)
    core = core_of(attention, kv_cache_dtype="bf16", dtype="bf16", tensor=2)

    assert 2 * (1000 * 4 + 100 * 2) / 2 == core.decode_bytes(10)
    assert core.decode_bytes(10) == core.decode_bytes(1_000_000)
    assert core.decode_operations(10) == core.decode_operations(1_000_000)


def test_few_tokens_touch_few_experts() -> None:
    """No token touches none; many touch nearly all, the unpopular ones last."""
    assert 0 == touched_share(0)
    assert pytest.approx(1, abs=0.03) == touched_share(1e4)
    assert touched_share(1) < 1 - 2.718**-1


def test_one_rank_has_no_hottest() -> None:
    """A single rank carries the mean; among more, the fewer experts each the worse."""
    assert 1 == hottest(1, 256)
    assert hottest(8, 32) < hottest(8, 8) < hottest(64, 8)
