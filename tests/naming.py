"""Which part of a model a tensor belongs to, told from the transformers library's name for it."""

import re
from collections.abc import Mapping

# The first match decides.
RULES = (
    (r"vision|visual|mm_projector|multi_modal_projector|image_newline", "vision"),
    (r"lm_head|embed_out", "head"),
    (
        r"embed_(tokens|positions|in)|word_embeddings\.|embeddings\.weight$|\bw[tp]e\b",
        "embedding",
    ),
    (
        r"project_(in|out)|_hc\.|hc_head|latent_proj|per_layer_(input_gate|projection\.|model)",
        "other",
    ),
    (r"shared_expert|shared_mlp", "shared_experts"),
    (r"norm\w*(\.\*)?(\.weight|\.bias)?$|\bln_\w+\.", "norm"),
    (r"experts\.", "routed_experts"),
    (r"\brouter\b|(mlp|mixer|block_sparse_moe|feed_forward)\.gate\b", "router"),
    (r"mixer\.(up|down)_proj|\b(mlps?|ffn|fc1|fc2)\.|feed_forward\.", "dense_feed_forward"),
    (r"attn|attention|mixer\.|mamba\.|conv\.", "attention"),
)


def component(name: str) -> str:
    """Return the part of a model that a tensor belongs to."""
    return next(part for pattern, part in RULES if re.search(pattern, name))


def expected_parts(by_tensor: Mapping[str, int]) -> dict[str, int]:
    """Sum the library's counts by part; parts without parameters are left out."""
    parts: dict[str, int] = {}
    for name, count in by_tensor.items():
        if count:
            parts[component(name)] = parts.get(component(name), 0) + count
    return parts
