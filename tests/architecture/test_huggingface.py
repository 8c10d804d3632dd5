"""Reading a config.json: what is refused and how, and what is not judged."""

import copy
from typing import Any

import pytest

from published import CONFIGS, LLAMA, llama
from rackfit.architecture.huggingface import known_families, read_config
from rackfit.errors import InvalidInput


def refusals(config: dict[str, Any]) -> list[str]:
    """Return the pointers a config is refused with."""
    with pytest.raises(InvalidInput) as caught:
        read_config(config)
    return [v.pointer for v in caught.value.violations]


def test_unknown_family_is_named_with_the_closest_and_all_known() -> None:
    """An unknown model_type is named, close ones are offered and all known ones listed."""
    with pytest.raises(InvalidInput) as caught:
        read_config({"model_type": "lama"})

    (violation,) = caught.value.violations
    assert violation.pointer == "/model/config/model_type"
    assert violation.detail.startswith("There is no reader for model_type 'lama'. The closest")
    assert all(family in violation.detail for family in known_families())


@pytest.mark.parametrize("model_type", [None, 7, ["llama"], "", {}])
def test_model_type_of_another_kind_is_refused(model_type: object) -> None:
    """A missing or mistyped model_type is refused at its pointer."""
    assert refusals({**LLAMA, "model_type": model_type}) == ["/model/config/model_type"]


def test_pointer_says_where_the_config_stands() -> None:
    """Errors point into the request the config came in."""
    with pytest.raises(InvalidInput) as caught:
        read_config({**LLAMA, "hidden_size": 0}, pointer="/questions/3/model/config")

    assert caught.value.violations[0].pointer == "/questions/3/model/config/hidden_size"


def test_all_missing_fields_are_reported_together() -> None:
    """One answer names every field that is missing."""
    fields = ["hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"]
    fields += ["num_attention_heads", "intermediate_size"]

    assert refusals({"model_type": "llama"}) == [f"/model/config/{name}" for name in fields]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"num_hidden_layers": 10_001}, "num_hidden_layers"),
        ({"hidden_size": (1 << 26) + 1}, "hidden_size"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"num_attention_heads": 7}, "num_key_value_heads"),
        ({"hidden_size": 66}, "num_attention_heads"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings"),
        ({"rope_scaling": [1]}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "rope_scaling/factor"),
        ({"model_type": "gemma2", "layer_types": ["full_attention"]}, "layer_types"),
        ({"model_type": "mixtral", "num_local_experts": 65_537}, "num_local_experts"),
    ],
)
def test_wrong_field_is_pointed_to(changes: dict[str, Any], field: str) -> None:
    """Absurd sizes, heads that do not divide and patterns of the wrong length are refused."""
    config = {**LLAMA, "num_experts_per_tok": 1, "num_local_experts": 2, **changes}

    assert f"/model/config/{field}" in refusals(config)


def test_fields_of_a_wrapped_model_are_pointed_to_where_they_stand() -> None:
    """Errors within text_config and vision_config point into them."""
    config = copy.deepcopy(CONFIGS["Qwen/Qwen3-VL-8B-Instruct"])
    config["text_config"]["vocab_size"] = "many"
    config["vision_config"]["depth"] = 0

    assert refusals(config) == [
        "/model/config/text_config/vocab_size",
        "/model/config/vision_config/depth",
    ]


def test_more_experts_active_than_there_are_is_refused() -> None:
    """A token cannot use more experts than the model has."""
    config = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 5}

    assert refusals(config) == ["/model/config/num_experts_per_tok"]


def test_name_is_the_configs_first_architecture() -> None:
    """An architecture is named as the config names it, else as its family's class."""
    assert llama(architectures=["MyLlama"]).name == "MyLlama"
    assert llama(architectures=None).name == "LlamaForCausalLM"


NAMED = {
    name: config
    for name, config in CONFIGS.items()
    if isinstance(config.get("architectures"), list)
}


@pytest.mark.parametrize("name", NAMED)
def test_a_published_config_is_the_same_without_its_class_name(name: str) -> None:
    """Tables by the class's name find a model, whether its config tells the name or not."""
    unnamed = {k: v for k, v in NAMED[name].items() if k != "architectures"}

    assert read_config(unnamed) == read_config(NAMED[name])


def test_unknown_activation_and_unheard_fields_are_fine() -> None:
    """Fields that do not bear on sizes are not judged."""
    assert llama(hidden_act="swish-o-matic", new_field={"a": [1]}) == llama()


def test_plain_types() -> None:
    """The checkpoint's 16-bit type is read under either name; bf16 is the default."""
    assert llama().dtype == "bf16"
    assert llama(torch_dtype="float16").dtype == "f16"
    assert llama(dtype="torch.bfloat16").dtype == "bf16"


@pytest.mark.parametrize("name", ["bananas", "float64", "int8", "complex64", "torch.int8", "", 16])
@pytest.mark.parametrize("field", ["torch_dtype", "dtype"])
def test_a_type_no_engine_holds_weights_in_is_refused(field: str, name: object) -> None:
    """A plain type is named as torch names it; the refusal tells those there are."""
    assert refusals({**LLAMA, field: name}) == [f"/model/config/{field}"]


def test_a_wrong_type_is_pointed_to_where_it_stands() -> None:
    """A language model's section has a type of its own; so have a mixer's states."""
    wrapped = copy.deepcopy(CONFIGS["Qwen/Qwen3-VL-8B-Instruct"])
    wrapped["text_config"]["dtype"] = "int8"
    hybrid = CONFIGS["nvidia/Nemotron-H-56B-Base-8K"] | {"mamba_ssm_cache_dtype": "int8"}

    assert refusals(wrapped) == ["/model/config/text_config/dtype"]
    assert refusals(hybrid) == ["/model/config/mamba_ssm_cache_dtype"]


def test_numbers_repeated_for_every_layer_are_read_once() -> None:
    """Hunyuan's configs may hold a list where one number would do; unlike ones are refused."""
    config = CONFIGS["tencent/Hunyuan-A13B-Instruct"]
    listed = {**config, "moe_topk": [8] * 32, "num_shared_expert": [1] * 32}

    assert read_config(listed) == read_config(config)
    assert refusals({**listed, "moe_topk": [8, 4]}) == ["/model/config/moe_topk"]


@pytest.mark.parametrize("section", ["audio_config", "speech_config", "vision_config"])
def test_a_part_that_no_reader_counts_is_told(section: str) -> None:
    """An encoder beside the language model is not passed over in silence."""
    read = llama(**{section: {"hidden_size": 1280, "num_hidden_layers": 32}})

    (warning,) = read.warnings
    assert warning.startswith(f"`{section}` describes a part that no reader counts")
    assert read.outer == llama().outer


@pytest.mark.parametrize("empty", [None, 7, "none"])
def test_sections_that_hold_no_part_are_not_told(empty: object) -> None:
    """An absent encoder, and what describes storage, need no warning."""
    assert llama(audio_config=empty, quantization_config={"quant_method": "fp8"}) == llama()


def test_each_wrong_field_is_one_violation() -> None:
    """A field that several tensors have their size from is told once."""
    wrapped = copy.deepcopy(CONFIGS["google/gemma-3-27b-it"])
    wrapped["vision_config"]["hidden_size"] = 0

    assert refusals({**LLAMA, "attention_bias": "x"}) == ["/model/config/attention_bias"]
    assert refusals(wrapped) == ["/model/config/vision_config/hidden_size"]


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("num_local_experts", "experts"),
        ("n_routed_experts", "experts"),
        ("kv_lora_rank", "latent attention"),
        ("ssm_state_size", "recurrent layers"),
    ],
)
def test_a_part_that_the_family_does_not_have_is_told(field: str, part: str) -> None:
    """A dense Llama with experts is read as its `model_type` says, and not in silence."""
    read = llama(**{field: 200})

    (warning,) = read.warnings
    assert warning.startswith(f"`{field}` = 200 is not counted: a llama has no {part}.")
    assert read.kinds == llama().kinds


def test_windows_that_the_family_does_not_read_are_told() -> None:
    """Llama's layers all see every token, whatever a list calls them."""
    types = ["full_attention", "sliding_attention"] * 2
    (warning,) = llama(layer_types=types).warnings
    assert warning.startswith("`layer_types` is not counted")


def test_one_expert_is_none() -> None:
    """Dense models say so, and full layers are what all have."""
    assert llama(num_local_experts=1, layer_types=["full_attention"] * 4).warnings == ()


def test_no_published_config_contradicts_its_family() -> None:
    """What published configs carry along unused is no contradiction."""
    contradicting = [
        name
        for name, config in CONFIGS.items()
        if "not counted" in str(read_config(config).warnings)
    ]
    assert contradicting == []


def test_ministrals_layers_have_their_own_windows() -> None:
    """All slide, unless a list says which do."""
    types = ["full_attention", "sliding_attention"] * 2
    mixed = llama(model_type="ministral", sliding_window=1024, layer_types=types)
    alike = llama(model_type="ministral", sliding_window=1024)

    assert [kind.attention.window for kind in mixed.kinds] == [None, 1024]
    assert [kind.attention.window for kind in alike.kinds] == [1024]
