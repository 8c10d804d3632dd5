"""Llama and the families that differ from it by a bias, a norm, a window or a default.

Source: transformers, the models that READERS names.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import msgspec

from rackfit.architecture import parts, windows
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Heads,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    GroupedAttention,
    Layer,
    Rotary,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

BEFORE_EACH = ("input_layernorm", "post_attention_layernorm")
AROUND_EACH = (*BEFORE_EACH, "pre_feedforward_layernorm", "post_feedforward_layernorm")
Windows = Callable[[Fields, int], list[int | None]]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """How a family differs from Llama.

    `bias` says whether query, key and value have one, by default that is `attention_bias`;
    `output_bias` likewise for the output. `local_rotary` families keep a second, unscaled
    table for their sliding layers. `defaults` stand in for fields configs leave out.
    """

    bias: bool | None = None
    output_bias: bool | None = None
    query_norm: bool = False
    norms: tuple[str, ...] = BEFORE_EACH
    windows: Windows = windows.no_layer
    local_rotary: bool = False
    defaults: Mapping[str, object] = {}


def read(variant: Variant, fields: Fields, names: Names) -> Architecture:
    """Read a dense decoder of grouped attention and gated feed-forwards."""
    fields = fields.or_else(**variant.defaults)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    width = fields.integer("intermediate_size")
    tensors = (
        *attention(variant, fields, f"{names.layer}.self_attn", frame, heads),
        *parts.feed_forward(
            f"{names.layer}.mlp", frame.hidden, width, bias=fields.flag("mlp_bias")
        ),
        *parts.norms(names.layer, frame.hidden, *variant.norms),
    )

    def layer(window: int | None) -> Layer:
        return Layer(
            attention=grouped(heads, window),
            feed_forward=DenseFeedForward(width=width),
            tensors=tensors,
        )

    return assemble(
        names,
        frame,
        stack(variant.windows(fields, frame.layers), layer),
        outer=parts.outer(names, frame),
        rotaries=rotaries(variant, fields, heads, frame),
    )


def attention(
    variant: Variant, fields: Fields, at: str, frame: Frame, heads: Heads
) -> Iterator[Tensor]:
    """Yield the attention's tensors with the variant's biases and norms."""
    bias = fields.flag("attention_bias")
    yield from parts.grouped_attention(
        at,
        frame.hidden,
        heads,
        bias=bias if variant.bias is None else variant.bias,
        output_bias=bias if variant.output_bias is None else variant.output_bias,
    )
    if variant.query_norm:
        yield from parts.norms(at, heads.width, "q_norm", "k_norm")


def grouped(heads: Heads, window: int | None = None) -> GroupedAttention:
    """Return the cache geometry of plain grouped attention."""
    return GroupedAttention(
        heads=heads.heads,
        kv_heads=heads.kv_heads,
        key_width=heads.width,
        value_width=heads.width,
        window=window,
    )


def rotaries(variant: Variant, fields: Fields, heads: Heads, frame: Frame) -> tuple[Rotary, ...]:
    """Return the tables: one, or a scaled one and a plain one for sliding layers."""
    scaled = read_rotary(fields, heads.width, frame.context)
    if variant.local_rotary:
        return scaled, Rotary(positions=frame.context, width=heads.width)
    return (scaled,)


def _gemma(**more: object) -> Mapping[str, object]:
    return {
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "vocab_size": 256_000,
        **more,
    }


GEMMA2 = Variant(
    norms=AROUND_EACH,
    windows=partial(windows.listed_layers, full_every=2),
    defaults=_gemma(sliding_window=4096),
)
# Published Gemma-3 configs leave out whatever equals transformers' defaults (the 4B's heads).
GEMMA3_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131_072,
    "vocab_size": 262_208,
    "sliding_window": 4096,
}


def read_gemma3(fields: Fields, names: Names) -> Architecture:
    """Read Gemma 3: five sliding layers to a full one, and a norm on queries and keys."""
    variant = Variant(
        query_norm=True,
        norms=AROUND_EACH,
        windows=partial(
            windows.listed_layers, full_every=fields.integer("sliding_window_pattern", default=6)
        ),
        local_rotary=True,
        defaults=_gemma(**GEMMA3_DEFAULTS),
    )
    return read(variant, fields, names)


VARIANTS = {
    "llama": Variant(),
    "mistral": Variant(bias=False, output_bias=False, windows=windows.every_layer),
    "granite": Variant(),
    "gemma": Variant(defaults=_gemma()),
    "gemma2": GEMMA2,
    "qwen2": Variant(bias=True, output_bias=False, windows=windows.late_layers),
    "qwen3": Variant(query_norm=True, windows=windows.late_layers, defaults={"head_dim": 128}),
}
READERS: Mapping[str, Reader] = {
    "gemma3_text": read_gemma3,
    **{model_type: partial(read, variant) for model_type, variant in VARIANTS.items()},
    "qwen3_vl_text": partial(read, VARIANTS["qwen3"]),
}
