"""The part a tensor plays for llama.cpp's quantizer, from its name in a checkpoint or in a GGUF.

Source: llama.cpp, src/llama-quant.cpp (names its rules look for) and gguf's tensor_mapping.py
(what checkpoints call the same).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from rackfit.architecture.model import Tensor

Role = Literal[
    "embedding",
    "head",
    "query",
    "key",
    "value",
    "fused",  # queries, keys and values in one matrix
    "output",  # of attention
    "up",  # into a feed-forward: up and, for llama.cpp's rules the same, gate
    "down",
    "latent_up",  # from the latent row to each head's keys or values: one matrix a head
    "folded",  # a card's whole feed-forward in one matrix
    "other",
]

ATTENTION: Mapping[str, Role] = {
    **dict.fromkeys(("q_proj", "attn_q"), "query"),
    **dict.fromkeys(("k_proj", "attn_k"), "key"),
    **dict.fromkeys(("v_proj", "attn_v"), "value"),
    **dict.fromkeys(("qkv_proj", "query_key_value", "c_attn", "in_proj_qkv", "attn_qkv"), "fused"),
    **dict.fromkeys(("o_proj", "dense", "c_proj", "attn_output"), "output"),
    **dict.fromkeys(("k_b_proj", "v_b_proj", "attn_k_b", "attn_v_b"), "latent_up"),
}
DOWN = frozenset(
    {
        *("down_proj", "w2", "output_linear", "fc2", "c_proj", "dense_4h_to_h"),
        *("ffn_down", "ffn_down_exps", "ffn_down_shexp"),
    }
)
FOLDED = frozenset({"mlp", "*"})  # the card's names end where a matrix of its own would begin
FEEDING = frozenset({"dense_feed_forward", "routed_experts", "shared_experts"})
# Small matrices that stay as they were converted: routers and their like in f32.
KEPT = frozenset(
    {
        *("per_layer_model_projection", "per_layer_model_proj"),
        *("gate", "router", "ffn_gate_inp", "index_q_proj", "index_k_proj"),
        *("wpe", "position_embd", "ssm_conv1d"),
    }
)


def leaf(name: str) -> str:
    """Return the last part of a tensor's name that says what it is."""
    return name.removesuffix(".weight").rpartition(".")[2]


@lru_cache(maxsize=1 << 14)
def role_of(tensor: Tensor) -> Role:
    """Return the part a matrix plays."""
    name = leaf(tensor.name)
    if tensor.component in ("embedding", "head"):
        return "embedding" if tensor.component == "embedding" else "head"
    if tensor.component in FEEDING:
        if name in FOLDED:
            return "folded"
        return "down" if name in DOWN else "up"
    if tensor.component == "draft" and name in DOWN:
        return "down"
    return ATTENTION.get(name, "other")


def converts(tensor: Tensor) -> bool:
    """Tell whether the quantizer converts a tensor: matrices but routers and some small ones.

    A matrix of one row is a vector in a GGUF; so is the weight of a norm. Convolutions are kept.
    """
    if len(tensor.shape) != 2 or tensor.shape[0] == 1:  # noqa: PLR2004 - a matrix
        return False
    return tensor.component not in ("router", "norm") and leaf(tensor.name) not in KEPT
