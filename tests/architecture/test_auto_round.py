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


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bits": 2}, "bits"),
        ({"group_size": -1}, "group_size"),
        ({"bits": None}, "bits"),
        ({"group_size": None}, "group_size"),
        ({"data_type": "mx_fp"}, "data_type"),
        ({"packing_format": "auto_round:llm_compressor"}, "packing_format"),
    ],
)
def test_what_there_is_no_scheme_for_is_refused(change: dict[str, object], field: str) -> None:
    """At the field that names it."""
    assert f"{SECTION}/{field}" == refusal(auto_round(**change))[0]
