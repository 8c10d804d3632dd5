"""MoonViT, the tower of Kimi-VL, Kimi K2.5 and K3.

Sources: transformers, models/kimi_k25 (shapes) and conversion_mapping (the checkpoint's names).
"""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks

PATCH = 14


def encoder_tensors(vision: Fields, encoder: blocks.Encoder) -> Iterator[Tensor]:
    """Yield patches, positions, layers and final norm; K3 drops biases and LayerNorms."""
    at = "vision_tower"
    patch = vision.integer("patch_size", default=PATCH, most=4096)
    patch_bias = vision.flag("patch_embed_proj_bias", default=True)
    name = f"{at}.patch_embed.proj"
    yield from blocks.convolution(name, encoder.width, 3, patch, patch, bias=patch_bias)
    sides = [
        vision.integer(f"init_pos_emb_{side}", f"pos_emb_{side}", default=64)
        for side in ("height", "width")
    ]
    yield blocks.weight(f"{at}.patch_embed.pos_emb.weight", *sides, encoder.width)
    norm_bias = vision.text("norm_type", default="layernorm") == "layernorm"
    yield from blocks.layers(
        f"{at}.encoder.blocks.*",
        encoder,
        attention="",
        queries=("wqkv",),
        output="wo",
        feed=("fc0", "fc1"),
        norms=("norm0", "norm1"),
        bias=vision.flag("linear_bias", default=True),
        norm_bias=norm_bias,
        attention_width=vision.optional("qkv_hidden_size"),
    )
    yield from blocks.norm(f"{at}.encoder.final_layernorm", encoder.width, bias=norm_bias)


def merged_width(vision: Fields, width: int) -> int:
    """Return the width of the patches that one merged patch joins (2 x 2 by default)."""
    if not vision.has("merge_kernel_size"):
        return 4 * width
    sides = vision.integers("merge_kernel_size", most=64)
    product = width
    for side in sides:
        product *= max(1, side)
    return product


def kimi_k2(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield Kimi K2.5's tower and projector."""
    vision = vision.or_else(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27)
    encoder = blocks.read_encoder(vision, "vt_")
    yield from encoder_tensors(vision, encoder)
    projected = vision.integer("mm_hidden_size", default=encoder.width)
    normed = config.integer("projection_hidden_size", default=projected)
    merged = merged_width(vision, projected)
    yield from blocks.norm("mm_projector.pre_norm", normed, bias=True)
    yield from blocks.linear("mm_projector.proj.0", merged, merged, bias=True)
    yield from blocks.linear("mm_projector.proj.2", hidden, merged, bias=True)


def kimi_k3(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield Kimi K3's tower and projector, which normalises behind itself."""
    encoder = blocks.read_encoder(vision, "vt_")
    yield from encoder_tensors(vision, encoder)
    merged = merged_width(vision, vision.integer("mm_hidden_size", default=encoder.width))
    yield from blocks.linear("mm_projector.proj.0", merged, merged)
    yield from blocks.linear("mm_projector.proj.2", hidden, merged)
    yield from blocks.norm("mm_projector.post_norm", hidden)


def kimi_vl(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield Kimi-VL's tower and projector."""
    encoder = blocks.read_encoder(vision)
    yield from encoder_tensors(vision, encoder)
    merged = merged_width(vision, encoder.width)
    yield from blocks.norm("multi_modal_projector.pre_norm", encoder.width, bias=True)
    yield from blocks.linear("multi_modal_projector.linear_1", merged, merged, bias=True)
    yield from blocks.linear("multi_modal_projector.linear_2", hidden, merged, bias=True)
