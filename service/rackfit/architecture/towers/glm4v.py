"""GLM-4.5V's tower: gated layers and a convolution that merges patches.

Source: transformers, models/glm4v.
"""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks, qwen

AT = "model.visual"


def tower(vision: Fields, _config: Fields, _hidden: int) -> Iterator[Tensor]:
    """Yield tower and merger; its layers are as wide inside as what comes out of the tower."""
    vision = vision.or_else(
        depth=24, hidden_size=1536, intermediate_size=13_696, out_hidden_size=4096
    )
    encoder = blocks.read_encoder(vision)
    out = vision.integer("out_hidden_size")
    patch = vision.integer("patch_size", default=14, most=4096)
    positions = blocks.patches(vision, patch, image_size=336)
    name = f"{AT}.embeddings.position_embedding.weight"
    yield blocks.weight(name, positions, encoder.width)
    yield from qwen.patches(AT, vision, encoder.width, bias=True)
    inner = blocks.Encoder(width=encoder.width, inner=out, depth=encoder.depth)
    yield from layers(inner, bias=vision.flag("attention_bias"))
    yield from blocks.norm(f"{AT}.post_conv_layernorm", encoder.width)
    side = vision.integer("spatial_merge_size", default=2, most=64)
    name = f"{AT}.downsample"
    yield from blocks.convolution(name, out, encoder.width, side, side, bias=True)
    yield from blocks.norm(f"{AT}.post_layernorm", encoder.width)
    yield from merger(f"{AT}.merger", out, encoder.inner)


def layers(encoder: blocks.Encoder, *, bias: bool) -> Iterator[Tensor]:
    """Yield the layers: RMS norms, a gated feed-forward; only queries, keys and values biased."""
    at, width, depth = f"{AT}.blocks.*", encoder.width, encoder.depth
    yield from blocks.linear(f"{at}.attn.qkv", 3 * width, width, bias=bias, copies=depth)
    yield from blocks.linear(f"{at}.attn.proj", width, width, copies=depth)
    for name in ("gate_proj", "up_proj"):
        yield from blocks.linear(f"{at}.mlp.{name}", encoder.inner, width, copies=depth)
    yield from blocks.linear(f"{at}.mlp.down_proj", width, encoder.inner, copies=depth)
    for name in ("norm1", "norm2"):
        yield from blocks.norm(f"{at}.{name}", width, copies=depth)


def merger(at: str, out: int, inner: int) -> Iterator[Tensor]:
    """Yield the merger: a projection, a LayerNorm and a gated feed-forward."""
    yield from blocks.linear(f"{at}.proj", out, out)
    yield from blocks.norm(f"{at}.post_projection_norm", out, bias=True)
    for name in ("gate_proj", "up_proj"):
        yield from blocks.linear(f"{at}.{name}", inner, out)
    yield from blocks.linear(f"{at}.down_proj", out, inner)
