"""Gemma 4's tower: Gemma's own layers over patches (transformers, models/gemma4)."""

from collections.abc import Iterator

import msgspec

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks

AXES = 2  # a table of positions for each


def tower(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield tower and projection."""
    at = "model.vision_tower"
    vision = vision.or_else(hidden_size=768, intermediate_size=3072, num_hidden_layers=16)
    encoder = blocks.read_encoder(vision)
    patch = vision.integer("patch_size", default=16, most=4096)
    yield from blocks.linear(f"{at}.patch_embedder.input_proj", encoder.width, 3 * patch * patch)
    positions = vision.integer("position_embedding_size", default=10_240)
    yield blocks.weight(
        f"{at}.patch_embedder.position_embedding_table", AXES, positions, encoder.width
    )
    yield from layers(f"{at}.encoder.layers.*", vision, encoder)
    if vision.flag("standardize"):
        for name in ("std_bias", "std_scale"):
            statistic = blocks.weight(f"{at}.{name}", encoder.width)
            yield msgspec.structs.replace(statistic, buffer=True)
    yield from blocks.linear("model.embed_vision.embedding_projection", hidden, encoder.width)


def layers(at: str, vision: Fields, encoder: blocks.Encoder) -> Iterator[Tensor]:
    """Yield the layers; each matrix is wrapped in a module named `linear`."""
    heads = vision.integer("num_attention_heads", default=12)
    kv_heads = vision.integer("num_key_value_heads", default=heads)
    width = vision.integer("head_dim", default=max(1, encoder.width // heads))
    matrices = (
        ("self_attn.q_proj", heads * width, encoder.width),
        ("self_attn.k_proj", kv_heads * width, encoder.width),
        ("self_attn.v_proj", kv_heads * width, encoder.width),
        ("self_attn.o_proj", encoder.width, heads * width),
        ("mlp.gate_proj", encoder.inner, encoder.width),
        ("mlp.up_proj", encoder.inner, encoder.width),
        ("mlp.down_proj", encoder.width, encoder.inner),
    )
    for name, rows, columns in matrices:
        yield from blocks.linear(f"{at}.{name}.linear", rows, columns, copies=encoder.depth)
    for name in ("q_norm", "k_norm"):
        yield from blocks.norm(f"{at}.self_attn.{name}", width, copies=encoder.depth)
    for place in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield from blocks.norm(f"{at}.{place}_layernorm", encoder.width, copies=encoder.depth)
