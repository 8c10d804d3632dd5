"""The towers of Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3.5 (transformers, models/qwen*_vl)."""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks

QWEN3 = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "patch_size": 16,
    "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
}
DEEPSTACK = 3  # mergers of Qwen3-VL where the config does not list its layers


def patches(at: str, vision: Fields, width: int, *, bias: bool) -> Iterator[Tensor]:
    """Yield the convolution that cuts patches in space and time."""
    patch = vision.integer("patch_size", default=14)
    yield from blocks.convolution(
        f"{at}.patch_embed.proj",
        width,
        blocks.channels(vision),
        vision.integer("temporal_patch_size", default=2),
        patch,
        patch,
        bias=bias,
    )


def qwen3_vl(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield Qwen3-VL's tower, with DeepStack by default."""
    return qwen3(vision, config, hidden, DEEPSTACK)


def qwen3(vision: Fields, _config: Fields, hidden: int, stacked: int = 0) -> Iterator[Tensor]:
    """Yield Qwen3-VL's tower with learned positions, its merger and DeepStack's mergers."""
    vision = vision.or_else(**QWEN3)
    at = "model.visual"
    encoder = blocks.read_encoder(vision)
    yield from patches(at, vision, encoder.width, bias=True)
    positions = vision.integer("num_position_embeddings")
    yield blocks.weight(f"{at}.pos_embed.weight", positions, encoder.width)
    yield from blocks.layers(
        f"{at}.blocks.*",
        encoder,
        attention="attn.",
        queries=("qkv",),
        output="proj",
        feed=("linear_fc1", "linear_fc2"),
        norms=("norm1", "norm2"),
    )
    merged = encoder.width * vision.integer("spatial_merge_size", default=2, most=64) ** 2
    out = vision.integer("out_hidden_size", default=hidden)
    if vision.has("deepstack_visual_indexes"):
        stacked = vision.length("deepstack_visual_indexes")
    yield from merger(f"{at}.merger", merged, encoder.width, out, 1)
    if stacked:
        yield from merger(f"{at}.deepstack_merger_list.*", merged, merged, out, stacked)


def merger(at: str, merged: int, normed: int, out: int, copies: int) -> Iterator[Tensor]:
    """Yield a merger of neighbouring patches; `normed` is the width its norm sees."""
    yield from blocks.norm(f"{at}.norm", normed, bias=True, copies=copies)
    yield from blocks.linear(f"{at}.linear_fc1", merged, merged, bias=True, copies=copies)
    yield from blocks.linear(f"{at}.linear_fc2", out, merged, bias=True, copies=copies)


def qwen2(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield Qwen2-VL's tower: LayerNorms and a plain feed-forward `mlp_ratio` times as wide."""
    vision = vision.or_else(depth=32, embed_dim=1280, hidden_size=3584)
    width = vision.integer("embed_dim")
    ratio = vision.integer("mlp_ratio", default=4, most=1024)
    depth = vision.integer("depth", most=10_000)
    encoder = blocks.Encoder(width=width, inner=width * ratio, depth=depth)
    out = vision.integer("hidden_size", default=hidden)
    yield from old(vision, encoder, out, feed=("fc1", "fc2"), norm_bias=True)


def qwen2_5(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield Qwen2.5-VL's tower: RMS norms and a gated feed-forward."""
    vision = vision.or_else(
        depth=32, hidden_size=3584, intermediate_size=3420, out_hidden_size=3584
    )
    encoder = blocks.read_encoder(vision)
    out = vision.integer("out_hidden_size", default=hidden)
    feed = ("gate_proj", "up_proj", "down_proj")
    yield from old(vision, encoder, out, feed=feed, norm_bias=False)


def old(
    vision: Fields, encoder: blocks.Encoder, out: int, *, feed: tuple[str, ...], norm_bias: bool
) -> Iterator[Tensor]:
    """Yield what the two older towers share: their checkpoints keep them under `visual`."""
    yield from patches("visual", vision, encoder.width, bias=False)
    yield from blocks.layers(
        "visual.blocks.*",
        encoder,
        attention="attn.",
        queries=("qkv",),
        output="proj",
        feed=feed,
        norms=("norm1", "norm2"),
        norm_bias=norm_bias,
    )
    merged = encoder.width * vision.integer("spatial_merge_size", default=2, most=64) ** 2
    yield from blocks.norm("visual.merger.ln_q", encoder.width, bias=norm_bias)
    yield from blocks.linear("visual.merger.mlp.0", merged, merged, bias=True)
    yield from blocks.linear("visual.merger.mlp.2", out, merged, bias=True)
