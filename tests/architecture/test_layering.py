"""What a config says of single layers: lists of another length, and layers there are none of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from published import CONFIGS, LLAMA
from rackfit.architecture.huggingface import read_config
from rackfit.errors import InvalidInput

QWEN3 = {**LLAMA, "model_type": "qwen3", "sliding_window": 1024}
QWEN2 = {**QWEN3, "model_type": "qwen2"}
MIXTURE = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
DEEPSEEK = CONFIGS["deepseek-ai/DeepSeek-V3"]
FULL, SLIDING = "full_attention", "sliding_attention"


def refusals(config: dict[str, Any]) -> list[str]:
    """Return the pointers a config is refused with, below the config's own."""
    with pytest.raises(InvalidInput) as caught:
        read_config(config)
    return [v.pointer.removeprefix("/model/config/") for v in caught.value.violations]


@pytest.mark.parametrize("family", [LLAMA, QWEN2, QWEN3, MIXTURE, {**LLAMA, "model_type": "phi3"}])
@pytest.mark.parametrize(
    ("types", "at"),
    [
        (["bogus"] * 4, "layer_types/0"),
        ([FULL, FULL, FULL, "bogus"], "layer_types/3"),
        ([FULL], "layer_types"),
        ([FULL] * 5, "layer_types"),
        ([1, 2, 3, 4], "layer_types"),
        (FULL, "layer_types"),
    ],
)
def test_types_of_layers_are_checked_in_every_family(
    family: dict[str, Any], types: object, at: str
) -> None:
    """Families that do not read `layer_types` refuse what transformers refuses in them."""
    assert refusals({**family, "layer_types": types}) == [at]


@given(st.integers(1, 12), st.integers(0, 14))
def test_a_list_is_taken_just_where_it_has_a_type_for_each_layer(layers: int, named: int) -> None:
    """Whatever the depth, one type a layer is right and any other number is not."""
    config = {**LLAMA, "num_hidden_layers": layers, "layer_types": [FULL] * named}
    if named == layers:
        assert read_config(config).order == (0,) * layers
    else:
        assert refusals(config) == ["layer_types"]


@pytest.mark.parametrize("family", [QWEN2, QWEN3, MIXTURE])
def test_sliding_layers_where_windows_are_off_are_a_contradiction(family: dict[str, Any]) -> None:
    """Qwen's layers slide only where `use_sliding_window` says so."""
    mixed = {**family, "sliding_window": 1024, "layer_types": [FULL, SLIDING] * 2}

    assert refusals(mixed) == ["layer_types"]
    windows = [layer.attention.window for layer in read_config(
        {**mixed, "use_sliding_window": True}
    ).kinds]  # fmt: skip
    assert windows == [None, 1024]


def test_sliding_layers_have_a_window() -> None:
    """Layers that slide and no window are no full layers."""
    config = {**QWEN3, "use_sliding_window": True, "layer_types": [FULL, SLIDING] * 2}

    assert refusals({**config, "sliding_window": None}) == ["sliding_window"]


@pytest.mark.parametrize(
    ("family", "window"), [("olmo3", 4096), ("cohere2", 4096), ("exaone4", 4096), ("cwm", 8192)]
)
def test_a_window_that_is_left_out_is_the_familys(family: str, window: int) -> None:
    """Transformers' classes have one of their own; none at all is written null."""
    config = {**LLAMA, "model_type": family, "layer_types": [SLIDING, FULL] * 2}

    assert [k.attention.window for k in read_config(config).kinds] == [window, None]
    assert refusals({**config, "sliding_window": None}) == ["sliding_window"]


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"first_k_dense_replace": 99}, "first_k_dense_replace"),
        ({"n_group": 7}, "n_group"),
        ({"n_group": 8, "topk_group": 9}, "topk_group"),
    ],
)
def test_more_than_there_is_is_refused(changes: dict[str, Any], at: str) -> None:
    """Dense layers beyond the last, and groups that experts do not fill or there are none of."""
    assert refusals({**DEEPSEEK, **changes}) == [at]


@pytest.mark.parametrize("more", [{"n_group": None}, {"n_group": 7, "topk_method": "greedy"}])
def test_experts_without_groups_are_taken(more: dict[str, Any]) -> None:
    """A router without groups, or one that takes the best experts whatever group, is fine."""
    plain = {**DEEPSEEK, "topk_group": None}

    assert read_config({**plain, **more}) == read_config(DEEPSEEK)


def test_all_layers_may_be_dense() -> None:
    """As many dense layers as there are layers are a dense model."""
    read = read_config({**DEEPSEEK, "first_k_dense_replace": 61, "num_nextn_predict_layers": 0})

    assert len(read.kinds) == 1


def test_layers_named_by_number_are_there() -> None:
    """A layer's number is below the number of layers."""
    assert refusals({**MIXTURE, "mlp_only_layers": [999]}) == ["mlp_only_layers/0"]
    assert refusals({**MIXTURE, "mlp_only_layers": [0, 4]}) == ["mlp_only_layers/1"]
    assert len(read_config({**MIXTURE, "mlp_only_layers": [0, 3]}).kinds) == 2


def test_text_that_names_layers_is_read_or_refused() -> None:
    """Step's repositories write the mixtures' numbers with commas between."""
    step = CONFIGS["stepfun-ai/Step-3.7-Flash"]

    assert refusals({**step, "moe_layers_enum": "3,4,x"}) == ["moe_layers_enum"]
