"""Llama: dense decoders of grouped attention, and the ways in which its relatives differ.

Which family differs how stands in `llama_like`. Source: transformers, models/llama.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Heads,
    Names,
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
from rackfit.architecture.windows import Windows, no_layer

BEFORE_EACH = ("input_layernorm", "post_attention_layernorm")
AROUND_EACH = (*BEFORE_EACH, "pre_feedforward_layernorm", "post_feedforward_layernorm")
UNGATED = ("up_proj", "down_proj")


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """How a family differs from Llama.

    `bias` says whether queries, keys and values have one, by name of a field or outright;
    `output_bias` the same of the output, and `feed_bias` of the feed-forward. `query_norm` is
    over each head or over all heads at once; where `query_norm_switch` names a field, that field
    decides. `fused` keeps gate and up in one matrix, `matrices` names them where they are apart.
    `scalars` name numbers that an activation learns. Families with a `local_rotary` keep a
    second, unscaled table for their sliding layers. Where the field that `parallel` names is
    true, attention and feed-forward run abreast behind the first norm alone.
    `defaults` stand in for fields that configs leave out.
    """

    bias: bool | str = "attention_bias"
    output_bias: bool | str = "attention_bias"
    feed_bias: bool | str = "mlp_bias"
    query_norm: Literal["head", "all"] | None = None
    query_norm_switch: str | None = None
    query_norm_names: tuple[str, str] = ("q_norm", "k_norm")
    norms: tuple[str, ...] = BEFORE_EACH
    parallel: str | None = None
    norm_bias: bool = False
    matrices: tuple[str, ...] = parts.GATED
    fused: bool = False
    scalars: tuple[str, ...] = ()
    windows: Windows = no_layer
    local_rotary: bool = False
    defaults: Mapping[str, object] = {}


def read(variant: Variant, fields: Fields, names: Names) -> Architecture:
    """Read a dense decoder."""
    fields = fields.or_else(**variant.defaults)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    dense = DenseFeedForward(
        width=fields.integer("intermediate_size"),
        gated=variant.fused or len(variant.matrices) == len(parts.GATED),
    )
    abreast = variant.parallel is not None and fields.flag(variant.parallel)
    norms = variant.norms[:1] if abreast else variant.norms
    tensors = (
        *attention(variant, fields, f"{names.layer}.self_attn", frame, heads),
        *feed_forward(variant, fields, f"{names.layer}.mlp", frame, dense),
        *parts.norms(names.layer, frame.hidden, *norms, bias=variant.norm_bias),
    )

    def layer(window: int | None) -> Layer:
        return Layer(attention=grouped(heads, window), feed_forward=dense, blocks=(tensors,))

    return assemble(
        names,
        frame,
        stack(variant.windows(fields, frame.layers), layer),
        outer=parts.outer(names, frame, norm_bias=variant.norm_bias),
        rotaries=rotaries(variant, fields, heads, frame),
    )


def attention(
    variant: Variant, fields: Fields, at: str, frame: Frame, heads: Heads
) -> Iterator[Tensor]:
    """Yield the attention's tensors with the variant's biases and norms."""
    yield from parts.grouped_attention(
        at,
        frame.hidden,
        heads,
        bias=switched(variant.bias, fields),
        output_bias=switched(variant.output_bias, fields),
    )
    if variant.query_norm is None:
        return
    if variant.query_norm_switch is None or fields.flag(variant.query_norm_switch):
        every = variant.query_norm == "all"
        for name, count in zip(
            variant.query_norm_names, (heads.heads, heads.kv_heads), strict=True
        ):
            yield from parts.norm(f"{at}.{name}", heads.width * (count if every else 1))


def feed_forward(
    variant: Variant, fields: Fields, at: str, frame: Frame, dense: DenseFeedForward
) -> Iterator[Tensor]:
    """Yield the feed-forward, gate and up apart or in one matrix."""
    if variant.fused:
        yield from parts.fused_feed_forward(at, frame.hidden, dense.width)
        return
    for name in variant.scalars:
        yield Tensor(name=f"{at}.{name}", shape=(1,), component="dense_feed_forward")
    bias = switched(variant.feed_bias, fields)
    yield from parts.feed_forward(at, frame.hidden, dense.width, names=variant.matrices, bias=bias)


def switched(switch: bool | str, fields: Fields) -> bool:  # noqa: FBT001 - a variant's own value
    """Return a switch's value: its own, or that of the field it names."""
    return fields.flag(switch) if isinstance(switch, str) else switch


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
