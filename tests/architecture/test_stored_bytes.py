"""The caller's own choice of scheme, and the bytes every scheme makes of a tensor."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import (
    BIAS,
    CORRECTION,
    DENSE,
    DRAFT_EXPERT,
    DRAFT_ROUTER,
    EMBEDDING,
    EXPERT,
    HEAD,
    NORM,
    Q_PROJ,
    ROUTER,
    SCHEMES,
    SHARED,
    VISION,
    schemes,
)
from rackfit.architecture.model import Tensor
from rackfit.architecture.quantization import Quantization, override, stored_bytes


def test_a_scheme_for_linear_layers_leaves_the_rest_in_the_plain_type() -> None:
    """`fp8` converts the decoder's linear layers and the draft's, nothing else."""
    stored = override(SCHEMES["fp8"], "bf16", Quantization(default="bf16"))
    converted = (Q_PROJ, DENSE, EXPERT, SHARED, DRAFT_EXPERT)
    assert ["fp8"] * len(converted) == schemes(stored, *converted)
    plain = (HEAD, ROUTER, VISION, EMBEDDING, NORM, BIAS, DRAFT_ROUTER)
    assert ["bf16"] * len(plain) == schemes(stored, *plain)


def test_a_plain_scheme_is_the_type_of_every_tensor() -> None:
    """`f16` converts all but what has a type of its own."""
    stored = override(SCHEMES["f16"], "bf16", Quantization(default="bf16"))
    assert ["f16", "f16", "f16", "f32"] == schemes(stored, Q_PROJ, NORM, EMBEDDING, CORRECTION)


def shaped(*shape: int, copies: int = 1) -> Tensor:
    """Return a tensor of a shape."""
    return Tensor(name="t.weight", shape=shape, component="attention", copies=copies)


@pytest.mark.parametrize(
    ("scheme", "shape", "size"),
    [
        ("bf16", (7,), 14),
        ("f32", (), 4),
        ("fp8", (256, 512), 256 * 512 + 4 + 4),
        ("fp8-channel", (256, 512), 256 * 512 + 256 * 4),
        ("fp8-block", (256, 512), 256 * 512 + 2 * 4 * 4),
        ("fp8-block", (257, 513), 257 * 513 + 3 * 5 * 4),  # tiles round up on both sides
        ("mxfp4", (5760, 2880), 5760 * 1440 + 5760 * 90),
        ("nvfp4", (256, 512), 256 * 256 + 256 * 32 + 8),
        ("awq-int4", (256, 512), 256 * 256 + 256 * 4 * 2 + 256 * 4 // 2),
        ("gptq-int4", (256, 512), 256 * 256 + 256 * 4 * 2 + 256 * 4 // 2 + 512 * 4),
        ("Q4_K", (256, 512), 512 * 144),
        ("Q8_0", (1, 33), 2 * 34),  # a started block is a whole one
        ("Q4_K_M", (1000, 1000), 611_800),
    ],
)
def test_bytes_of_one_copy(scheme: str, shape: tuple[int, ...], size: int) -> None:
    """Weights, tiles, columns and the rest add up to the format's own layout."""
    assert size == stored_bytes(shaped(*shape), SCHEMES[scheme])


@given(
    scheme=st.sampled_from(sorted(SCHEMES)),
    shape=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    copies=st.integers(1, 400),
)
def test_copies_are_rounded_one_by_one(scheme: str, shape: tuple[int, int], copies: int) -> None:
    """All copies take as many times the bytes of one, and never less than the bare weights."""
    found = SCHEMES[scheme]
    one = stored_bytes(shaped(*shape), found)
    assert copies * one == stored_bytes(shaped(*shape, copies=copies), found)
    assert one >= math.prod(shape) * found.block_bytes / found.block_elements - 1


@given(
    scheme=st.sampled_from(sorted(SCHEMES)),
    rows=st.integers(1, 3000),
    columns=st.integers(1, 3000),
    more=st.integers(0, 300),
)
def test_a_larger_matrix_never_takes_fewer_bytes(
    scheme: str, rows: int, columns: int, more: int
) -> None:
    """Rows and columns added cost something or fill what was rounded up."""
    found = SCHEMES[scheme]
    size = stored_bytes(shaped(rows, columns), found)
    assert size <= stored_bytes(shaped(rows + more, columns), found)
    assert size <= stored_bytes(shaped(rows, columns + more), found)
