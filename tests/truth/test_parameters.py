"""Parameter counts equal those of the transformers library, model by model, to the integer."""

import json
from pathlib import Path
from typing import Any

import pytest

from naming import expected_parts
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.parameters import Parameters, count_parameters

DATA = Path(__file__).parent / "data"
MODELS: dict[str, Any] = {
    f"{name} ({file})": model
    for file in ("parameters", "parameters_more")
    for name, model in json.loads((DATA / f"{file}.json").read_text()).items()
}

# Their configs have a vision section, but the library counted the language model alone.
TEXT_ONLY = {"Qwen/Qwen3.5-397B-A17B (parameters)", "nvidia/Qwen3.6-27B-NVFP4 (parameters)"}
# Its config is flat, while the library's class nests the language model and so filled every
# field with its own defaults: a vision tower that the config does not have, and a vocabulary of
# 128,815 instead of the 128,896 the config states. All its other defaults equal the config.
FLAT = "stepfun-ai/Step-3.7-Flash (parameters)"
FLAT_VOCABULARY, LIBRARY_VOCABULARY, FLAT_HIDDEN = 128_896, 128_815, 4096
EXACT = sorted(set(MODELS) - TEXT_ONLY - {FLAT})


def counted_parts(parameters: Parameters) -> dict[str, int]:
    """Return our counts of the parts that are not empty, the draft left out."""
    apart = {"total", "active", "draft"}
    parts = {f: getattr(parameters, f) for f in Parameters.__struct_fields__ if f not in apart}
    return {part: count for part, count in parts.items() if count}


def count(model: str) -> Parameters:
    """Count a model's parameters from its published config alone."""
    return count_parameters(read_config(MODELS[model]["config"]))


@pytest.mark.parametrize("model", EXACT)
def test_total_is_exact(model: str) -> None:
    """The total equals the library's to the integer."""
    assert MODELS[model]["parameters"]["total"] == count(model).total


@pytest.mark.parametrize("model", EXACT)
def test_every_part_is_exact(model: str) -> None:
    """Each part equals the sum of the library's tensors that belong to it."""
    expected = expected_parts(MODELS[model]["parameters"]["by_tensor"])

    assert expected == counted_parts(count(model))


@pytest.mark.parametrize("model", sorted(TEXT_ONLY))
def test_language_model_beside_a_tower_is_exact(model: str) -> None:
    """Less its vision tower, a wrapped model equals its language model counted alone."""
    parameters = count(model)
    parts = counted_parts(parameters)

    assert parts.pop("vision") > 0
    assert expected_parts(MODELS[model]["parameters"]["by_tensor"]) == parts
    assert MODELS[model]["parameters"]["total"] == parameters.total - parameters.vision


def test_config_without_vision_section_has_no_tower() -> None:
    """A flat config is read as it stands: no default tower, and its own vocabulary."""
    expected = expected_parts(MODELS[FLAT]["parameters"]["by_tensor"])
    del expected["vision"]
    for part in ("embedding", "head"):
        assert expected[part] == LIBRARY_VOCABULARY * FLAT_HIDDEN
        expected[part] = FLAT_VOCABULARY * FLAT_HIDDEN

    assert expected == counted_parts(count(FLAT))
    assert MODELS[FLAT]["config"]["vocab_size"] == FLAT_VOCABULARY
