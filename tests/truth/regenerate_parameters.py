"""Count the parameters of every model in parameters_more.json anew, with transformers.

Run it in an environment of its own with `torch` (any CPU build) and `transformers`:

    python tests/truth/regenerate_parameters.py

It instantiates each config on the meta device, which takes no memory for weights, and writes
the count of every trainable tensor back, repeated layers folded to `*` and tied tensors once.
A wrapped config without a vision section is counted as its language model, because the library
would make up a tower. The suite reads the file alone and never needs either library.
"""

import copy
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "parameters_more.json"
# Families that the library reads under another name.
SAME_AS = {"kimi_k2": "deepseek_v3"}


def instantiate(config: dict[str, Any]) -> Any:  # noqa: ANN401 - a torch module, imported late
    """Return the model of a config on the meta device."""
    # Named in strings, because nothing else in the project needs or checks against them.
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    config = copy.deepcopy(config)
    config.pop("quantization_config", None)
    for section in (config, config.get("text_config", {})):
        if "model_type" in section:
            section["model_type"] = SAME_AS.get(section["model_type"], section["model_type"])
    if "vision_config" in config:
        factory = transformers.AutoModelForImageTextToText
    else:
        factory, config = transformers.AutoModelForCausalLM, config.get("text_config", config)
    with torch.device("meta"):
        return factory.from_config(transformers.AutoConfig.for_model(**config))


def count(config: dict[str, Any]) -> dict[str, Any]:
    """Return the total and the count of each tensor name, trainable parameters alone."""
    by_tensor: dict[str, int] = {}
    for name, parameter in instantiate(config).named_parameters():
        if parameter.requires_grad:
            folded = re.sub(r"\.\d+(?=\.|$)", ".*", name)
            by_tensor[folded] = by_tensor.get(folded, 0) + parameter.numel()
    return {"total": sum(by_tensor.values()), "by_tensor": by_tensor}


def main() -> None:
    """Recount every model in the file, or those named on the command line."""
    models = json.loads(DATA.read_text())
    for name in sys.argv[1:] or sorted(models):
        models[name]["parameters"] = count(models[name]["config"])
        sys.stderr.write(f"{name} {models[name]['parameters']['total']}\n")
        DATA.write_text(json.dumps(models, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
