"""Pixtral and its projector in Mistral Small 3 (transformers, models/pixtral and mistral3)."""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks


def tower(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield tower, patch merger and projector."""
    vision = vision.or_else(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24)
    encoder = blocks.read_encoder(vision)
    patch = vision.integer("patch_size", default=16, most=4096)
    name = "vision_tower.patch_conv"
    yield from blocks.convolution(name, encoder.width, blocks.channels(vision), patch, patch)
    yield from blocks.norm("vision_tower.ln_pre", encoder.width)
    yield from layers("vision_tower.transformer.layers.*", encoder)
    merge = config.integer("spatial_merge_size", default=2, most=64)
    at = "multi_modal_projector"
    yield from blocks.norm(f"{at}.norm", encoder.width)
    yield from blocks.linear(
        f"{at}.patch_merger.merging_layer", encoder.width, encoder.width * merge * merge
    )
    bias = config.flag("multimodal_projector_bias")
    yield from blocks.linear(f"{at}.linear_1", hidden, encoder.width, bias=bias)
    yield from blocks.linear(f"{at}.linear_2", hidden, hidden, bias=bias)


def layers(at: str, encoder: blocks.Encoder) -> Iterator[Tensor]:
    """Yield the layers: no biases, RMS norms, a gated feed-forward."""
    width, inner, depth = encoder.width, encoder.inner, encoder.depth
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        yield from blocks.linear(f"{at}.attention.{name}", width, width, copies=depth)
    yield from blocks.linear(f"{at}.feed_forward.gate_proj", inner, width, copies=depth)
    yield from blocks.linear(f"{at}.feed_forward.up_proj", inner, width, copies=depth)
    yield from blocks.linear(f"{at}.feed_forward.down_proj", width, inner, copies=depth)
    for name in ("attention_norm", "ffn_norm"):
        yield from blocks.norm(f"{at}.{name}", width, copies=depth)
