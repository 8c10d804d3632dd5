"""Llama 4's tower: a pixel-shuffling adapter behind a plain encoder (transformers, llama4)."""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks


def tower(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield tower, adapter and projector."""
    vision = vision.or_else(
        hidden_size=768,
        intermediate_size=5632,
        num_hidden_layers=34,
        patch_size=14,
    )
    at = "vision_model"
    encoder = blocks.read_encoder(vision)
    heads = vision.integer("num_attention_heads", default=16, most=encoder.width)
    patch = vision.integer("patch_size", most=4096)
    pixels = blocks.channels(vision) * patch * patch
    yield from blocks.linear(f"{at}.patch_embedding.linear", encoder.width, pixels)
    yield blocks.weight(f"{at}.class_embedding", encoder.width)
    positions = blocks.patches(vision, patch, image_size=448) + 1
    yield blocks.weight(f"{at}.positional_embedding_vlm", positions, encoder.width)
    yield from blocks.norm(f"{at}.layernorm_pre", encoder.width, bias=True)
    yield from blocks.norm(f"{at}.layernorm_post", encoder.width, bias=True)
    yield from blocks.layers(
        f"{at}.model.layers.*",
        encoder,
        attention="self_attn.",
        output="o_proj",
        feed=("fc1", "fc2"),
        norms=("input_layernorm", "post_attention_layernorm"),
        attention_width=encoder.width // heads * heads,
    )
    into = vision.integer("projector_input_dim", default=4096)
    out = vision.integer("projector_output_dim", default=4096)
    yield from blocks.linear(f"{at}.vision_adapter.mlp.fc1", into, encoder.inner)
    yield from blocks.linear(f"{at}.vision_adapter.mlp.fc2", out, out)
    shuffled = vision.integer("vision_output_dim", default=7680)
    yield from blocks.linear("multi_modal_projector.linear_1", hidden, shuffled)
