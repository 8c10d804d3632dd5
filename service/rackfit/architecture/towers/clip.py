"""CLIP and its descendants: SigLIP in Gemma 3, either in LLaVA, and the tower of MiniMax M3.

Source: transformers, models/clip, siglip, gemma3, llava, llava_next and minimax_m3_vl.
"""

from collections.abc import Iterator

from rackfit.architecture.fields import Fields
from rackfit.architecture.model import Tensor
from rackfit.architecture.towers import blocks

AT = "vision_tower.vision_model"


DEFAULTS = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}


def clip(vision: Fields) -> Iterator[Tensor]:
    """Yield CLIP, whose images begin with a class of their own."""
    vision = vision.or_else(**DEFAULTS)
    encoder = blocks.read_encoder(vision)
    patch = vision.integer("patch_size", default=32, most=4096)
    at = f"{AT}.embeddings"
    colours = blocks.channels(vision)
    yield blocks.weight(f"{at}.class_embedding", encoder.width)
    yield from blocks.convolution(f"{at}.patch_embedding", encoder.width, colours, patch, patch)
    positions = blocks.patches(vision, patch, image_size=224) + 1
    yield blocks.weight(f"{at}.position_embedding.weight", positions, encoder.width)
    yield from blocks.norm(f"{AT}.pre_layrnorm", encoder.width, bias=True)  # as CLIP spells it
    yield from encoder_layers(encoder)
    yield from blocks.norm(f"{AT}.post_layernorm", encoder.width, bias=True)


def siglip(vision: Fields) -> Iterator[Tensor]:
    """Yield SigLIP, with its pooling head unless the config says there is none."""
    vision = vision.or_else(**DEFAULTS)
    encoder = blocks.read_encoder(vision)
    patch = vision.integer("patch_size", default=16, most=4096)
    name, colours = f"{AT}.embeddings.patch_embedding", blocks.channels(vision)
    yield from blocks.convolution(name, encoder.width, colours, patch, patch, bias=True)
    positions = blocks.patches(vision, patch, image_size=224)
    yield blocks.weight(f"{AT}.embeddings.position_embedding.weight", positions, encoder.width)
    yield from encoder_layers(encoder)
    yield from blocks.norm(f"{AT}.post_layernorm", encoder.width, bias=True)
    if vision.flag("vision_use_head", default=True):
        yield from pooling_head(f"{AT}.head", encoder)


def pooling_head(at: str, encoder: blocks.Encoder) -> Iterator[Tensor]:
    """Yield the attention that pools an image into one vector."""
    width = encoder.width
    yield blocks.weight(f"{at}.probe", 1, 1, width)
    yield blocks.weight(f"{at}.attention.in_proj_weight", 3 * width, width)
    yield blocks.weight(f"{at}.attention.in_proj_bias", 3 * width)
    yield from blocks.linear(f"{at}.attention.out_proj", width, width, bias=True)
    yield from blocks.norm(f"{at}.layernorm", width, bias=True)
    yield from blocks.linear(f"{at}.mlp.fc1", encoder.inner, width, bias=True)
    yield from blocks.linear(f"{at}.mlp.fc2", width, encoder.inner, bias=True)


def encoder_layers(encoder: blocks.Encoder) -> Iterator[Tensor]:
    """Yield the layers as CLIP names them."""
    yield from blocks.layers(
        f"{AT}.encoder.layers.*",
        encoder,
        attention="self_attn.",
        output="out_proj",
        feed=("fc1", "fc2"),
        norms=("layer_norm1", "layer_norm2"),
    )


def gemma3(vision: Fields, _config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield SigLIP and Gemma 3's projection."""
    yield from siglip(vision)
    width = vision.integer("hidden_size", default=DEFAULTS["hidden_size"])
    at = "multi_modal_projector"
    yield blocks.weight(f"{at}.mm_input_projection_weight", width, hidden)
    yield from blocks.norm(f"{at}.mm_soft_emb_norm", width)


def llava(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield CLIP or SigLIP and LLaVA's projector, which may see several of its layers."""
    kind = vision.text("model_type", default="clip_vision_model")
    towers = {"clip_vision_model": clip, "siglip_vision_model": siglip}
    known = f"There is no vision tower {kind!r:.80} here. Known: {', '.join(towers)}."
    vision.require("model_type", known, holds=kind in towers)
    yield from towers.get(kind, clip)(vision)
    seen = max(1, config.length("vision_feature_layer"))
    width = vision.integer("hidden_size", default=DEFAULTS["hidden_size"]) * seen
    bias = config.flag("multimodal_projector_bias", default=True)
    yield from blocks.linear("multi_modal_projector.linear_1", hidden, width, bias=bias)
    yield from blocks.linear("multi_modal_projector.linear_2", hidden, hidden, bias=bias)


def llava_next(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield what LLaVA has, and the mark between the rows of an image."""
    yield from llava(vision, config, hidden)
    yield blocks.weight("image_newline", hidden)


def minimax(vision: Fields, config: Fields, hidden: int) -> Iterator[Tensor]:
    """Yield MiniMax M3's tower, its projector and the merger of neighbouring patches."""
    vision = vision.or_else(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32)
    encoder = blocks.read_encoder(vision)
    patch = vision.integer("patch_size", default=14, most=4096)
    nested = vision.has("img_token_compression_config")
    merging = vision.section("img_token_compression_config") if nested else vision
    frames = merging.integer("temporal_patch_size", default=2, most=64)
    name = f"{AT}.embeddings.patch_embedding"
    colours = blocks.channels(vision)
    yield from blocks.convolution(name, encoder.width, colours, frames, patch, patch)
    yield from blocks.norm(f"{AT}.pre_layrnorm", encoder.width, bias=True)  # as CLIP spells it
    yield from encoder_layers(encoder)
    projected = config.integer("projector_hidden_size", default=6144)
    yield from blocks.linear("multi_modal_projector.linear_1", projected, encoder.width, bias=True)
    yield from blocks.linear("multi_modal_projector.linear_2", hidden, projected, bias=True)
    merged = hidden * merging.integer("spatial_merge_size", default=2, most=64) ** 2
    yield from blocks.linear("patch_merge_mlp.linear_1", projected, merged, bias=True)
    yield from blocks.linear("patch_merge_mlp.linear_2", hidden, projected, bias=True)
