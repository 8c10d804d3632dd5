"""Step's tower: a scaled encoder and two downsampling convolutions (transformers, step3p7)."""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks

KERNEL = 3


def tower(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield tower and projector; the published config calls the sizes `width` and `layers`."""
    at = "vision_model"
    width = vision.integer("width", "hidden_size", default=1536)
    ratio = vision.number("mlp_ratio", default=8960 / 1536)
    depth = vision.integer("layers", "num_hidden_layers", default=47, most=10_000)
    encoder = blocks.Encoder(width=width, inner=int(width * ratio), depth=depth)
    patch = vision.integer("patch_size", default=14, most=4096)
    yield from blocks.convolution(f"{at}.conv1", width, blocks.channels(vision), patch, patch)
    positions = blocks.patches(vision, patch, image_size=728)
    yield blocks.weight(f"{at}.positional_embedding", positions, width)
    yield from blocks.norm(f"{at}.ln_pre", width, bias=True)
    yield from layers(f"{at}.transformer.resblocks.*", encoder)
    for number, into in ((1, width), (2, 2 * width)):
        name = f"{at}.vit_downsampler{number}"
        yield from blocks.convolution(name, 2 * into, into, KERNEL, KERNEL, bias=True)
    bias = config.flag("projector_bias")
    yield from blocks.linear("vit_large_projector", hidden, 4 * width, bias=bias)


def layers(at: str, encoder: blocks.Encoder) -> Iterator[Tensor]:
    """Yield the layers with one learned scale for each residual branch."""
    width, depth = encoder.width, encoder.depth
    yield blocks.weight(f"{at}.attn.in_proj_weight", 3 * width, width, copies=depth)
    yield blocks.weight(f"{at}.attn.in_proj_bias", 3 * width, copies=depth)
    yield from blocks.linear(f"{at}.attn.out_proj", width, width, bias=True, copies=depth)
    yield from blocks.linear(f"{at}.mlp.c_fc", encoder.inner, width, bias=True, copies=depth)
    yield from blocks.linear(f"{at}.mlp.c_proj", width, encoder.inner, bias=True, copies=depth)
    for name in ("ln_1", "ln_2"):
        yield from blocks.norm(f"{at}.{name}", width, bias=True, copies=depth)
    for name in ("ls_1.gamma", "ls_2.gamma"):
        yield blocks.weight(f"{at}.{name}", width, copies=depth)
