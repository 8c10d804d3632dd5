"""compressed-tensors' groups of modules, read from excerpts of published configs."""

from typing import Any

import pytest

from checkpoints import (
    BIAS,
    DENSE,
    EXPERT,
    HEAD,
    LAYERS,
    Q_PROJ,
    ROUTER,
    SECTION,
    SHARED,
    VISION,
    read,
    refusal,
    schemes,
)
from rackfit.architecture.quantization import read_quantization


def group(targets: list[str], **weights: object) -> dict[str, object]:
    """Return one group of a compressed-tensors config."""
    return {"targets": targets, "input_activations": None, "weights": weights}


KIMI_K25 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "group_0": group(
            ["Linear"], num_bits=4, type="int", strategy="group", group_size=32, symmetric=True
        )
    },
    "ignore": [
        "lm_head",
        "re:.*self_attn.*",
        "re:.*shared_experts.*",
        r"re:.*mlp\.(gate|up|gate_up|down)_proj.*",
    ],
    "kv_cache_scheme": None,
}


def test_expressions_in_ignore_keep_modules_plain() -> None:
    """Kimi-K2.5 converts routed experts alone; its section stands in `text_config`."""
    config = {"text_config": {"num_hidden_layers": LAYERS, "quantization_config": KIMI_K25}}
    stored = read_quantization(config)
    plain = (Q_PROJ, SHARED, DENSE, HEAD, ROUTER)
    assert ["bf16"] * len(plain) == schemes(stored, *plain)
    assert ["int4-g32"] == schemes(stored, EXPERT)
    assert not stored.layer_dependent


@pytest.mark.parametrize(
    ("form", "weights", "scheme"),
    [
        ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "tensor"}, "fp8"),
        ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "channel"}, "fp8-channel"),
        ("naive-quantized", {"num_bits": 8, "type": "float", "strategy": "block"}, "fp8-block"),
        ("int-quantized", {"num_bits": 8, "type": "int", "strategy": "channel"}, "int8"),
        ("pack-quantized", {"num_bits": 4, "type": "int", "group_size": 128}, "int4-g128"),
        ("pack-quantized", {"num_bits": 4, "type": "int", "strategy": "channel"}, "int4-channel"),
        ("pack-quantized", {"num_bits": 8, "type": "int", "group_size": 128}, "int8-g128"),
        ("nvfp4-pack-quantized", {"num_bits": 4, "type": "float", "group_size": 16}, "nvfp4"),
        ("mxfp4-pack-quantized", {"num_bits": 4, "type": "float", "group_size": 32}, "mxfp4"),
    ],
)
def test_formats_of_compressed_tensors(form: str, weights: dict[str, object], scheme: str) -> None:
    """Number type, bits and granularity of the weights choose the scheme."""
    section = {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group(["Linear"], **weights)},
    }
    assert [scheme] == schemes(read(section), Q_PROJ)


def test_unpacked_formats_keep_four_bits_in_a_byte() -> None:
    """W4A8 in int-quantized takes a byte a weight."""
    section = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "config_groups": {"group_0": group(["Linear"], num_bits=4, type="int", strategy="channel")},
    }
    assert ["int8"] == schemes(read(section), Q_PROJ)


@pytest.mark.parametrize(
    ("weights", "form", "scheme"),
    [
        ({"num_bits": 4, "group_size": 32}, "pack-quantized", "int4-g32-asym"),
        ({"num_bits": 4, "group_size": 64}, "pack-quantized", "int4-g64-asym"),
        ({"num_bits": 4, "group_size": 128}, "pack-quantized", "int4-g128-asym"),
        ({"num_bits": 4, "strategy": "channel"}, "pack-quantized", "int4-channel-asym"),
        ({"num_bits": 8, "group_size": 128}, "pack-quantized", "int8-g128-asym"),
        ({"num_bits": 8, "strategy": "channel"}, "int-quantized", "int8-asym"),
    ],
)
def test_zero_points_are_stored(weights: dict[str, Any], form: str, scheme: str) -> None:
    """Asymmetric weights have schemes of their own: a zero point, packed, beside each scale."""
    section = {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group(["Linear"], type="int", symmetric=False, **weights)},
    }
    assert [scheme] == schemes(read(section), Q_PROJ)


def test_tiles_of_another_size_are_refused() -> None:
    """A scale for each 64 x 64 weights is four times as many."""
    section = {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {
            "group_0": group(
                ["Linear"], num_bits=8, type="float", strategy="block", block_structure=[64, 64]
            )
        },
    }
    pointer, detail = refusal(section)
    assert pointer.endswith("/config_groups/group_0/weights/block_structure")
    assert "[128, 128]" in detail


def test_a_head_is_a_linear_layer_unless_ignored() -> None:
    """compressed-tensors' Linear takes head and vision tower in; routers are none."""
    section = {key: value for key, value in KIMI_K25.items() if key != "ignore"}
    assert ["int4-g32", "bf16", "int4-g32"] == schemes(read(section), HEAD, ROUTER, VISION)


def test_a_modules_name_decides_before_its_class() -> None:
    """Attention named by an expression is FP8, every other linear layer NVFP4."""
    section = {
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "config_groups": {
            "group_0": {
                **group(["Linear"], num_bits=4, type="float", group_size=16),
                "format": "nvfp4-pack-quantized",
            },
            "group_1": {
                **group([r"re:.*self_attn\.\w+_proj$"], num_bits=8, type="float"),
                "format": "float-quantized",
            },
        },
        "kv_cache_scheme": {"num_bits": 8, "type": "float"},
    }
    stored = read(section)
    assert ["fp8", "nvfp4", "bf16"] == schemes(stored, Q_PROJ, EXPERT, BIAS)
    assert stored.kv_cache_dtype == "fp8"


def test_an_unknown_format_is_refused() -> None:
    """The error points into the group and names the known formats."""
    section = {**KIMI_K25, "format": "marlin-24"}
    pointer, detail = refusal(section)
    assert pointer == f"{SECTION}/config_groups/group_0/format"
    assert "'marlin-24'" in detail
    assert "pack-quantized" in detail


def test_weights_without_a_scheme_are_refused() -> None:
    """Three bits in groups of 48 are no scheme of the catalog."""
    weights = group(["Linear"], num_bits=3, type="int", group_size=48)
    pointer, detail = refusal({**KIMI_K25, "config_groups": {"group_0": weights}})
    assert pointer == f"{SECTION}/config_groups/group_0/weights"
    assert "int3 per 48" in detail
