"""AMD Quark's configs, read from excerpts of published ones."""

from typing import Any

import pytest

from checkpoints import (
    DENSE,
    EXPERT,
    HEAD,
    O_PROJ,
    Q_PROJ,
    ROUTER,
    SECTION,
    SHARED,
    VISION,
    read,
    refusal,
    schemes,
)

MXFP4 = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0"}
FP8 = {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}


def quark(weight: object, **more: object) -> dict[str, Any]:
    """Return a section that stores `weight` everywhere."""
    return {
        "quant_method": "quark",
        "export": {"kv_cache_group": [], "pack_method": "reorder"},
        "global_quant_config": {"weight": weight, "input_tensors": None},
        "layer_quant_config": {},
        **more,
    }


def test_every_linear_layer_is_converted_but_what_is_excluded() -> None:
    """DeepSeek-R1-MXFP4 keeps attention and head; a tower that nothing excludes is converted."""
    stored = read(quark(MXFP4, exclude=["lm_head", "re:model.layers.*self_attn.*"]))
    assert ["bf16"] * 4 == schemes(stored, Q_PROJ, O_PROJ, HEAD, ROUTER)
    assert ["mxfp4"] * 4 == schemes(stored, DENSE, EXPERT, SHARED, VISION)


@pytest.mark.parametrize(
    ("weight", "scheme"),
    [
        (FP8, "fp8"),
        ({"dtype": "fp8_e4m3", "qscheme": "per_channel", "ch_axis": 0}, "fp8-channel"),
        ({"dtype": "fp8_e4m3", "qscheme": "per_block", "block_size": [128, 128]}, "fp8-block"),
        ({"dtype": "int8", "qscheme": "per_channel"}, "int8"),
        ([{**MXFP4, "group_size": 16}, FP8], "nvfp4"),
        ({"dtype": "fp4", "group_size": 32}, "mxfp4"),
    ],
)
def test_types_and_scales(weight: object, scheme: str) -> None:
    """A type and whose scale it has are a scheme; NVFP4 names the type of its scales beside it."""
    assert [scheme] == schemes(read(quark(weight)), Q_PROJ)


def test_named_modules_come_before_the_rest() -> None:
    """The first name that fits decides; one without weights stays plain."""
    layers = {"*self_attn*": {"weight": FP8}, "*shared_experts*": {"weight": None}}
    stored = read(quark(MXFP4, layer_quant_config=layers))
    assert ["fp8", "bf16", "mxfp4"] == schemes(stored, Q_PROJ, SHARED, EXPERT)


def test_a_layers_own_number_is_its_own() -> None:
    """A name without a star is that of one module of one layer."""
    name = "model.layers.3.self_attn.q_proj"
    stored = read(quark(MXFP4, layer_quant_config={name: {"weight": FP8}}))
    assert "fp8" == stored.scheme_of(Q_PROJ, 3)
    assert "mxfp4" == stored.scheme_of(Q_PROJ, 4)


def test_the_cache_has_the_type_of_its_modules_outputs() -> None:
    """Llama-3.1-FP8-KV: the modules named for the cache are converted as all are."""
    names = ["*k_proj", "*v_proj"]
    layers = {name: {"weight": FP8, "output_tensors": FP8} for name in names}
    stored = read(quark(FP8, export={"kv_cache_group": names}, layer_quant_config=layers))
    assert stored.kv_cache_dtype == "fp8"
    assert ["fp8"] == schemes(stored, Q_PROJ)


@pytest.mark.parametrize(
    ("weight", "named"),
    [
        ({"dtype": "fp6_e3m2", "qscheme": "per_group", "group_size": 32}, "fp6_e3m2 per 32"),
        (
            [FP8, {"dtype": "int4", "qscheme": "per_channel"}],
            "fp8_e4m3 per per_tensor under int4 per per_channel",
        ),
        ([{"dtype": "int4", "qscheme": "per_channel"}], "'int4 per per_channel'"),
        ({"dtype": "uint4", "qscheme": "per_group", "group_size": 16}, "uint4 per 16"),
    ],
)
def test_what_there_is_no_scheme_for_is_refused(weight: object, named: str) -> None:
    """At the weight, with what is known."""
    pointer, detail = refusal(quark(weight))
    assert f"{SECTION}/global_quant_config/weight" == pointer
    assert named in detail


def test_other_blocks_are_refused() -> None:
    """Tiles of 128 x 128 alone."""
    weight = {"dtype": "fp8_e4m3", "qscheme": "per_block", "block_size": [64, 64]}
    assert f"{SECTION}/global_quant_config/weight/block_size" == refusal(quark(weight))[0]


@pytest.mark.parametrize(
    ("size", "scheme"), [(128, "quark-int4"), (64, "quark-int4-g64"), (32, "quark-int4-g32")]
)
@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_whole_numbers_of_four_bits_in_groups(dtype: str, size: int, scheme: str) -> None:
    """With zero points or without, alone or as a list of one."""
    weight = {"dtype": dtype, "qscheme": "per_group", "group_size": size}
    assert [scheme] == schemes(read(quark(weight)), Q_PROJ)
    assert [scheme] == schemes(read(quark([weight])), Q_PROJ)
