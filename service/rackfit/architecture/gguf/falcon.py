"""Falcon, for which llama.cpp's quantizer has rules of its own: fewer bits on the way down.

Source: llama.cpp, src/llama-quant.cpp, LLM_ARCH_FALCON.
"""

from collections.abc import Mapping

import msgspec

from rackfit.architecture.gguf.recipes import Choice, Recipe, always, ends_and_thirds, first
from rackfit.architecture.gguf.roles import Role

NAMES = frozenset({"FalconForCausalLM", "RWForCausalLM", "falcon"})

OWN: Mapping[str, Mapping[Role, Choice]] = {
    "Q3_K_M": {"down": lambda p: first("Q5_K", 16)(p) or ends_and_thirds("Q4_K")(p)},
    "Q3_K_L": {"down": always("Q4_K"), "output": always("Q4_K")},
    "Q4_K_M": {"down": lambda p: first("Q6_K", 16)(p) or ends_and_thirds("Q5_K")(p)},
}
KEPT: Mapping[str, tuple[Role, ...]] = {"Q4_K_S": ("value", "fused")}


def recipe(file_type: str, common: Recipe) -> Recipe:
    """Return Falcon's recipe for a type of file, from the one for all others."""
    choices = {r: c for r, c in common.choices.items() if r != "output"}
    if file_type in KEPT:
        choices = {r: c for r, c in choices.items() if r in KEPT[file_type]}
    return msgspec.structs.replace(
        common, head="Q8_0", choices={**choices, **OWN.get(file_type, {})}
    )
