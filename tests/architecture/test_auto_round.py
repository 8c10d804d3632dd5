"""AutoRound's configs, read from excerpts of published ones."""

from typing import Any

import pytest

from checkpoints import (
    DENSE,
    EXPERT,
    HEAD,
    Q_PROJ,
    ROUTER,
    SCHEMES,
    SECTION,
    SHARED,
    VISION,
    matrix,
    read,
    refusal,
    schemes,
)
from rackfit.architecture.quantization import stored_bytes
from rackfit.architecture.quantization.auto_round import COMPRESSED, TYPES


def auto_round(**more: object) -> dict[str, Any]:
    """Return a section of four bits in groups of 128."""
    return {
        "quant_method": "auto-round",
        "packing_format": "auto_round:auto_gptq",
        "data_type": "int",
        "bits": 4,
        "group_size": 128,
        "sym": True,
        **more,
    }


def test_the_decoders_blocks_are_converted() -> None:
    """Head, routers and towers stay plain unless they are named."""
    stored = read(auto_round(block_name_to_quantize="model.layers"))
    assert ["autoround-int4"] * 4 == schemes(stored, Q_PROJ, DENSE, EXPERT, SHARED)
    assert ["bf16"] * 3 == schemes(stored, HEAD, ROUTER, VISION)


def test_named_modules_have_their_own_width() -> None:
    """16 bits are the plain type; others are in groups of the section's size, or their own."""
    extra = {
        "model.layers.0.mlp.down_proj": {"bits": 16, "data_type": "float"},
        "lm_head": {"bits": 8},
        ".*shared_experts.*": {"bits": 16},
        "model.layers.1.self_attn.q_proj": {"group_size": 32},
    }
    stored = read(auto_round(extra_config=extra))
    assert ["bf16", "autoround-int4"] == [stored.scheme_of(DENSE, n) for n in (0, 1)]
    assert ["autoround-int4", "autoround-int4-g32"] == [stored.scheme_of(Q_PROJ, n) for n in (0, 1)]
    assert ["autoround-int8", "bf16"] == schemes(stored, HEAD, SHARED, layer=0)


def test_its_packing_is_gptqs_without_the_columns() -> None:
    """Four bits a weight, and a scale in 16 and a zero point in 4 bits a group."""
    tensor = matrix("model.layers.*.mlp.up_proj.weight")
    rows, columns = tensor.shape
    groups = rows * columns // 128
    size = rows * columns // 2 + groups * 2 + groups // 2
    assert size == stored_bytes(tensor, SCHEMES["autoround-int4"])
    assert size + columns * 4 == stored_bytes(tensor, SCHEMES["gptq-int4"])


@pytest.mark.parametrize("method", ["auto-round", "auto_round", "intel/auto-round", "inc"])
def test_the_methods_names_all_mean_it(method: str) -> None:
    """Releases of AutoRound and Neural Compressor wrote different ones."""
    assert ["autoround-int4"] == schemes(read(auto_round(quant_method=method)), Q_PROJ)


@pytest.mark.parametrize(
    ("change", "scheme"),
    [
        ({"bits": 2}, "autoround-int2"),
        ({"bits": 3, "group_size": 64}, "autoround-int3-g64"),
        ({"bits": 8, "group_size": 32}, "autoround-int8-g32"),
        ({"data_type": "mx_fp", "group_size": 32}, "autoround-mxfp4"),
        ({"data_type": "mx_fp8", "bits": 8, "group_size": 32}, "autoround-mxfp8"),
        ({"data_type": "nv_fp4_with_static_gs", "group_size": 16}, "autoround-nvfp4"),
    ],
)
def test_types_and_widths(change: dict[str, object], scheme: str) -> None:
    """Whole numbers in groups, and the types of OCP and NVIDIA, however they are packed."""
    packing = "auto_round:auto_gptq" if scheme[:13] == "autoround-int" else COMPRESSED
    stored = read(auto_round(packing_format=packing, **change))
    assert [scheme] == schemes(stored, Q_PROJ)
    assert scheme in SCHEMES


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bits": 5}, "bits"),
        ({"group_size": -1}, "group_size"),
        ({"bits": None}, "bits"),
        ({"group_size": None}, "group_size"),
        ({"data_type": "fp8"}, "data_type"),
        ({"data_type": "mx_fp", "group_size": 16}, "group_size"),
        ({"packing_format": "auto_round:llm_compressor"}, "packing_format"),
    ],
)
def test_what_there_is_no_scheme_for_is_refused(change: dict[str, object], field: str) -> None:
    """At the field that names it."""
    assert f"{SECTION}/{field}" == refusal(auto_round(**change))[0]


def test_every_scheme_is_in_the_catalog() -> None:
    """What is read has bytes."""
    assert {scheme for schemes in TYPES.values() for scheme in schemes.values()} <= set(SCHEMES)
