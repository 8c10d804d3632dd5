"""Published configs under tests/truth, and a small Llama to change at will."""

import json
from pathlib import Path
from typing import Any

from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Architecture

TRUTH = Path(__file__).parent / "truth" / "data"
CONFIGS: dict[str, Any] = {
    name: model["config"]
    for file in ("parameters_more.json", "parameters.json")
    for name, model in json.loads((TRUTH / file).read_text()).items()
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}


def llama(**changes: object) -> Architecture:
    """Read a small Llama with some fields changed."""
    return read_config({**LLAMA, **changes})
