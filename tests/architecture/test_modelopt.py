"""Model Optimizer's algorithms, exclusions and tables, read from excerpts of published files."""

import pytest

from checkpoints import (
    DENSE,
    DRAFT_EXPERT,
    DRAFT_OUTPUT,
    EXPERT,
    HEAD,
    LAYERS,
    NORM,
    O_PROJ,
    Q_PROJ,
    read,
    schemes,
)
from rackfit.architecture.quantization import Quantization, read_quantization
from rackfit.errors import InvalidInput


def read_file(**quantization: object) -> Quantization:
    """Read a config without a section beside an hf_quant_config.json."""
    config = {"torch_dtype": "bfloat16", "num_hidden_layers": LAYERS, "num_nextn_predict_layers": 1}
    return read_quantization(config, {"producer": {}, "quantization": quantization})


def test_one_algorithm_with_exclusions() -> None:
    """Llama-3.1-70B-FP8 converts all linear layers but the head, and the KV cache."""
    stored = read_file(quant_algo="FP8", kv_cache_quant_algo="FP8", exclude_modules=["lm_head"])
    assert ["fp8", "fp8", "bf16"] == schemes(stored, Q_PROJ, DENSE, HEAD)
    assert stored.kv_cache_dtype == "fp8"


def test_exclusions_by_layer_and_by_wildcard() -> None:
    """DeepSeek-V3.1-NVFP4 keeps each layer's projections, and the whole draft layer 61."""
    excluded = [
        "lm_head",
        *(f"model.layers.{i}.self_attn.q_proj" for i in range(LAYERS)),
        "model.layers.61*",
    ]
    stored = read_file(quant_algo="NVFP4", group_size=16, exclude_modules=excluded)
    assert ["bf16", "nvfp4", "nvfp4"] == schemes(stored, Q_PROJ, O_PROJ, EXPERT)
    assert ["bf16", "bf16"] == schemes(stored, DRAFT_EXPERT, DRAFT_OUTPUT)
    assert not stored.layer_dependent


def test_a_wildcard_of_one_layer_does_not_mean_the_layers_it_begins() -> None:
    """`model.layers.1*` is layer 1 and not 10 to 19."""
    stored = read_file(quant_algo="NVFP4", exclude_modules=["model.layers.1*"])
    assert ["bf16", "nvfp4"] == [stored.scheme_of(Q_PROJ, layer) for layer in (1, 10)]


def test_wrappers_around_the_language_model_do_not_hide_it() -> None:
    """A list may say language_model.model.layers where the tensors say model.layers."""
    stored = read_file(
        quant_algo="NVFP4",
        exclude_modules=["language_model.model.layers.0.self_attn*", "language_model.lm_head"],
    )
    assert ["bf16", "nvfp4"] == [stored.scheme_of(Q_PROJ, layer) for layer in (0, 1)]
    assert ["bf16"] == schemes(stored, HEAD)


def test_a_table_of_modules_with_several_algorithms() -> None:
    """Qwen3.6-27B-NVFP4: FP8 attention, NVFP4 feed-forward and head, the rest plain."""
    layers = {"lm_head": {"quant_algo": "W4A16_NVFP4", "group_size": 16}}
    for i in range(LAYERS):
        layers[f"model.language_model.layers.{i}.self_attn.q_proj"] = {"quant_algo": "FP8"}
        layers[f"model.language_model.layers.{i}.mlp.down_proj"] = {"quant_algo": "W4A16_NVFP4"}
    stored = read_file(
        quant_algo="MIXED_PRECISION", quantized_layers=layers, exclude_modules=["mtp*"]
    )
    tensors = (Q_PROJ, O_PROJ, DENSE, HEAD, NORM)
    assert ["fp8", "bf16", "nvfp4", "nvfp4", "bf16"] == schemes(stored, *tensors)


def test_a_table_of_experts_one_by_one_means_them_all() -> None:
    """MiniMax-M3-NVFP4 lists every expert of every layer by its number."""
    layers = {
        f"language_model.model.layers.{i}.mlp.experts.{e}.down_proj": {"quant_algo": "NVFP4"}
        for i in range(3, LAYERS)
        for e in range(4)
    }
    stored = read_file(quant_algo="MIXED_PRECISION", quantized_layers=layers)
    assert ["bf16", "nvfp4"] == [stored.scheme_of(EXPERT, layer) for layer in (2, 3)]


@pytest.mark.parametrize(
    ("algorithm", "scheme"),
    [
        ("W4A8_AWQ", "w4a8-awq"),
        ("NVFP4_AWQ", "nvfp4"),
        ("MXFP8", "mxfp8"),
        ("FP8_PER_CHANNEL_PER_TOKEN", "fp8-channel"),
        ("fp8_pb_wo", "fp8-block"),
    ],
)
def test_algorithms_of_model_optimizer(algorithm: str, scheme: str) -> None:
    """Each algorithm is one scheme, case aside."""
    assert [scheme] == schemes(read_file(quant_algo=algorithm), Q_PROJ)


def test_the_same_inside_config_json() -> None:
    """config.json says `ignore` and `kv_cache_scheme` for exclusions and KV cache."""
    section = {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4}}},
        "ignore": ["lm_head", "model.layers.*.self_attn*"],
        "kv_cache_scheme": {"dynamic": False, "num_bits": 8, "type": "float"},
    }
    stored = read(section)
    assert ["bf16", "nvfp4"] == schemes(stored, Q_PROJ, EXPERT)
    assert stored.kv_cache_dtype == "fp8"


def test_a_section_without_a_method_is_model_optimizers() -> None:
    """Qwen3-32B-FP8-Static names an algorithm and no method."""
    stored = read({"quant_algo": "FP8", "kv_cache_scheme": "FP8", "ignore": ["lm_head"]})
    assert ["fp8"] == schemes(stored, Q_PROJ)
    assert stored.kv_cache_dtype == "fp8"


def test_an_unknown_algorithm_is_refused() -> None:
    """The error points into the file that names it."""
    with pytest.raises(InvalidInput) as refused:
        read_file(quant_algo="INT2")
    (violation,) = refused.value.violations
    assert violation.pointer == "/model/hf_quant_config/quantization/quant_algo"
    assert "'INT2'" in violation.detail


@pytest.mark.parametrize(
    ("algorithm", "size", "scheme"),
    [
        ("W4A16_AWQ", None, "awq-int4"),
        ("W4A16_AWQ", 128, "awq-int4"),
        ("W4A16_AWQ", 64, "awq-int4-g64"),
        ("NVFP4", 16, "nvfp4"),
        ("FP8", None, "fp8"),
    ],
)
def test_groups_of_a_size_have_their_scheme(algorithm: str, size: int | None, scheme: str) -> None:
    """A scale a group: smaller groups store more of them."""
    assert [scheme] == schemes(read_file(quant_algo=algorithm, group_size=size), Q_PROJ)


@pytest.mark.parametrize(("algorithm", "size"), [("NVFP4", 32), ("W4A16_AWQ", 256)])
def test_groups_of_another_size_are_refused(algorithm: str, size: int) -> None:
    """The error points at the size."""
    with pytest.raises(InvalidInput) as refused:
        read_file(quant_algo=algorithm, group_size=size)
    (violation,) = refused.value.violations
    assert violation.pointer.endswith("/group_size")
