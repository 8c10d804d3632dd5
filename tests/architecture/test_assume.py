"""Configs of unknown families: read as a known one only when asked, and only if all is familiar."""

from typing import Any

import pytest

from published import CONFIGS, LLAMA
from rackfit.architecture.familiarity import matters
from rackfit.architecture.families import READERS
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Names
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.parameters import count_parameters
from rackfit.errors import InvalidInput, Violation

STRANGER: dict[str, Any] = {**LLAMA, "model_type": "lamma2"}
WHOLLY_READ = {
    "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "dots1", "ernie4_5_moe", "gemma", "gemma2",
    "gemma3", "gemma3_text", "glm4", "glm4_moe", "gpt_neox", "gpt_oss", "granite", "granitemoe",
    "hunyuan_v1_dense", "hunyuan_v1_moe", "kimi_k2", "llama", "mistral", "mixtral", "nemotron",
    "olmo", "olmo2", "olmoe", "phi", "phimoe", "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl",
    "qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe", "seed_oss", "smollm3", "starcoder2",
}  # fmt: skip


def refusals(config: dict[str, Any], assume: str | None = None) -> list[Violation]:
    """Return what a config is refused for."""
    with pytest.raises(InvalidInput) as caught:
        read_config(config, assume=assume)
    return list(caught.value.violations)


def test_stranger_whose_fields_are_all_familiar_is_read_as_asked() -> None:
    """An assumed family counts as if it were the model's own, and the answer says so."""
    read = read_config({**STRANGER, "rms_norm_eps": 1e-5, "bos_token_id": 1}, assume="llama")

    assert count_parameters(read) == count_parameters(read_config(LLAMA))
    assert read.warnings == (
        "There is no reader for model_type 'lamma2': read as llama, as asked.",
    )


def test_config_without_a_model_type_can_be_read_as_asked() -> None:
    """A family may be assumed where none is named."""
    assert read_config({**STRANGER, "model_type": None}, assume="llama").order == (0, 0, 0, 0)


def test_strange_fields_are_named() -> None:
    """A field that the assumed family does not have may change the count: each is pointed to."""
    config = {**STRANGER, "num_experts": 8, "router": {"bias": True}, "use_cache": True, "x": None}

    detail = "llama has no such field, and it may bear on sizes."
    pointers = ["/model/config/num_experts", "/model/config/router"]
    assert refusals(config, "llama") == [Violation(pointer, detail) for pointer in pointers]


def test_wrong_fields_are_refused_as_in_the_family_itself() -> None:
    """An assumed family judges the fields that it does have."""
    (violation,) = refusals({**STRANGER, "hidden_size": 0}, "llama")

    assert violation.pointer == "/model/config/hidden_size"


def test_unknown_assumed_family_is_refused_at_assume() -> None:
    """Only a known family can be assumed; close names are offered."""
    (violation,) = refusals(STRANGER, "lama")

    assert violation.pointer == "/model/assume"
    assert "Did you mean 'llama'" in violation.detail


def test_known_family_is_read_as_itself() -> None:
    """`assume` never overrides a reader; the answer says that it was not used."""
    read = read_config(LLAMA, assume="mistral")

    assert read.warnings == ("`assume` is not used: model_type 'llama' has a reader of its own.",)
    assert read_config(LLAMA, assume="llama").warnings == ()


def test_a_refusal_names_sections_and_what_is_missing() -> None:
    """The fields of a wrapper are a level below; what a family needs is not where it looks."""
    nested = {key: value for key, value in LLAMA.items() if key != "model_type"}
    config = {"model_type": "foo_vl", "text_config": nested, "vision_config": {"depth": 3}}
    (violation,) = refusals(config)

    assert "text_config, vision_config, " in violation.detail
    assert "hidden_size (missing)" in violation.detail


def test_refusal_offers_the_nearest_family() -> None:
    """Without `assume` the refusal says which family would read the config."""
    (violation,) = refusals(STRANGER)

    assert violation.pointer == "/model/config/model_type"
    assert '"assume": "llama" reads it so.' in violation.detail


def test_refusal_names_what_the_nearest_family_does_not_understand() -> None:
    """Without `assume` the refusal names the fields that keep it from being read as the nearest."""
    (violation,) = refusals({**STRANGER, "num_experts": 8, "vocab_size": "many"})
    assert "As llama it cannot be read, because of vocab_size." in violation.detail

    (violation,) = refusals({**STRANGER, "model_type": "zzz", "num_zorks": 8})
    assert "As llama it cannot be read, because of num_zorks." in violation.detail


def test_language_model_of_an_unknown_family_in_a_wrapper_is_refused() -> None:
    """A wrapper that takes any language model refuses one that nothing here reads."""
    config = CONFIGS["mistralai/Mistral-Small-3.1-24B-Instruct-2503"]
    text = {**config["text_config"], "model_type": "mystral"}

    (violation,) = refusals({**config, "text_config": text})
    assert violation.pointer == "/model/config/text_config/model_type"


@pytest.mark.parametrize(
    "model", sorted(m for m, config in CONFIGS.items() if config["model_type"] in WHOLLY_READ)
)
def test_published_configs_are_wholly_understood(model: str) -> None:
    """Of families that others copy, no published config has a field that matters and is unread."""
    config = CONFIGS[model]
    fields = Fields(config, "")
    READERS[config["model_type"]](fields, Names(architecture=""))

    assert [at for at, _ in fields.unread() if matters(at)] == []
