"""The transformers library as the measure: models on the meta device, counted by tensor.

Only for the environment of `make truth`, which has `torch` and `transformers`; the suite reads
tests/truth/data and never needs either.
"""

import copy
import importlib
import re
from functools import cache
from typing import Any

Config = dict[str, Any]

# Families that the library reads under another name.
SAME_AS = {"kimi_k2": "deepseek_v3"}
# Language models that it lists among those that see images.
MISPLACED = {"mistral4"}


@cache
def _library() -> tuple[Any, Any]:
    # Named in strings, because nothing else in the project needs or checks against them.
    torch, library = importlib.import_module("torch"), importlib.import_module("transformers")
    library.logging.set_verbosity_error()
    return torch, library


def version() -> str:
    """Return the library's version."""
    return str(_library()[1].__version__)


def families() -> frozenset[str]:
    """Return every `model_type` the library generates text with."""
    _library()
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    language = set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    return frozenset(language | wrappers())


def wrappers() -> frozenset[str]:
    """Return every `model_type` of a model that sees images."""
    _library()
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    return frozenset(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def default_config(family: str, **fields: object) -> Config:
    """Return a family's config with the library's own defaults but for some fields."""
    config: Config = _library()[1].AutoConfig.for_model(family, **fields).to_dict()
    return config | fields


def count(config: Config) -> dict[str, Any]:
    """Return the total and the count of each tensor name, trainable parameters alone.

    Repeated layers are folded to `*`, tied tensors counted once. A wrapped config without a
    vision section is counted as its language model: the library would make up a tower.
    """
    by_tensor: dict[str, int] = {}
    for name, parameter in _instantiate(copy.deepcopy(config)).named_parameters():
        if parameter.requires_grad:
            folded = re.sub(r"\.\d+(?=\.|$)", ".*", name)
            by_tensor[folded] = by_tensor.get(folded, 0) + parameter.numel()
    return {"total": sum(by_tensor.values()), "by_tensor": by_tensor}


def _instantiate(config: Config) -> Any:  # noqa: ANN401 - a torch module, imported late
    torch, library = _library()
    config.pop("quantization_config", None)
    for section in (config, config.get("text_config", {})):
        if "model_type" in section:
            section["model_type"] = SAME_AS.get(section["model_type"], section["model_type"])
    factory = library.AutoModelForCausalLM
    if config.get("vision_config") is not None or config["model_type"] in MISPLACED:
        factory = library.AutoModelForImageTextToText
    elif config["model_type"] in wrappers():
        tied = {key: config[key] for key in ("tie_word_embeddings",) if key in config}
        config = config.get("text_config", config) | tied
    with torch.device("meta"):
        return factory.from_config(library.AutoConfig.for_model(**config))
