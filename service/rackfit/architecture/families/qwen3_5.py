"""Qwen3-Next and Qwen3.5: gated delta nets with a gated attention layer among every few.

Sources: transformers, models/qwen3_next, qwen3_5 and qwen3_5_moe; vLLM, qwen3_5_mtp.py for the
draft layer, which is always one of full attention.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import as_draft
from rackfit.architecture.families import qwen_moe
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Heads,
    Names,
    Reader,
    assemble,
    read_dtype,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mixture import Feeds, Kind
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    Layer,
    RecurrentAttention,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

LAYER_TYPES = ("linear_attention", "full_attention")
SHARED_WIDTH = 512


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """Mixtures or dense layers; experts and delta-net projections fused or apart."""

    kv_heads: int = 2

    mixtures: bool
    stacked: bool = True
    fused_projections: bool = False


class DeltaNet(msgspec.Struct, frozen=True, kw_only=True):
    """A gated delta net's geometry; keys and queries share their heads' number and width."""

    key_heads: int
    value_heads: int
    key_width: int
    value_width: int
    kernel: int
    state_dtype: str

    @property
    def keys(self) -> int:
        """Elements of all keys of a token."""
        return self.key_heads * self.key_width

    @property
    def values(self) -> int:
        """Elements of all values of a token."""
        return self.value_heads * self.value_width

    @property
    def convolved(self) -> int:
        """Channels of the convolution: queries, keys and values."""
        return 2 * self.keys + self.values


def read(variant: Variant, fields: Fields, names: Names) -> Architecture:
    """Read the language model and its draft layers."""
    fields = fields.or_else(head_dim=256, partial_rotary_factor=0.25)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden, kv_heads=variant.kv_heads)
    net = read_delta_net(fields)
    feeds = feed_forwards(variant, fields, names, frame)
    mixers = {
        True: tuple(attention(f"{names.layer}.self_attn", frame.hidden, heads, fields)),
        False: tuple(delta_net(f"{names.layer}.linear_attn", frame.hidden, net, variant)),
    }
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[str, Kind]) -> Layer:
        mixes, feeds_by = key
        geometry, tensors = feeds[feeds_by]
        full = mixes == "full_attention"
        return Layer(
            attention=grouped(heads) if full else remembering(net),
            feed_forward=geometry,
            blocks=(mixers[full], tensors, norms),
        )

    feed_kind: Kind = "sparse" if variant.mixtures else "dense"
    kinds = (
        qwen_moe.layer_kinds(fields, frame.layers)
        if variant.mixtures
        else [feed_kind] * frame.layers
    )
    draft_layers = fields.integer("mtp_num_hidden_layers", default=0, least=0, most=64)
    return assemble(
        names,
        frame,
        stack(tuple(zip(layer_types(fields, frame.layers), kinds, strict=True)), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
        draft=draft(names, frame, layer(("full_attention", feed_kind)), draft_layers),
        draft_layers=draft_layers,
    )


def layer_types(fields: Fields, layers: int) -> list[str]:
    """Return each layer's kind; without a list every `full_attention_interval`-th is full."""
    if fields.has("layer_types"):
        return fields.words("layer_types", length=layers, known=LAYER_TYPES)
    interval = fields.integer("full_attention_interval", default=4)
    return [LAYER_TYPES[(i + 1) % interval == 0] for i in range(layers)]


def read_delta_net(fields: Fields) -> DeltaNet:
    """Read the delta net's heads and widths; value heads are shared out among key heads."""
    key_heads = fields.integer("linear_num_key_heads")
    value_heads = fields.integer("linear_num_value_heads")
    fields.require(
        "linear_num_key_heads",
        f"linear_num_key_heads = {key_heads} must divide linear_num_value_heads = {value_heads}.",
        holds=value_heads % key_heads == 0,
    )
    return DeltaNet(
        key_heads=key_heads,
        value_heads=value_heads,
        key_width=fields.integer("linear_key_head_dim"),
        value_width=fields.integer("linear_value_head_dim"),
        kernel=fields.integer("linear_conv_kernel_dim", most=1024),
        state_dtype=read_dtype(fields, ["mamba_ssm_dtype"], default="f32"),
    )


def remembering(net: DeltaNet) -> RecurrentAttention:
    """Return the state of a sequence (vLLM, mamba_utils.py); ranks divide the key heads."""
    return RecurrentAttention(
        heads=net.key_heads,
        convolution_elements=net.convolved * (net.kernel - 1),
        state_elements=net.value_heads * net.key_width * net.value_width,
        state_dtype=net.state_dtype,
    )


def attention(at: str, hidden: int, heads: Heads, fields: Fields) -> Iterator[Tensor]:
    """Yield attention whose output the doubled query projection gates."""
    bias = fields.flag("attention_bias")
    gated = fields.flag("attn_output_gate", default=True)
    yield from parts.grouped_attention(
        at, hidden, heads, bias=bias, output_bias=bias, gated_queries=gated
    )
    yield from parts.norms(at, heads.width, "q_norm", "k_norm")


def delta_net(at: str, hidden: int, net: DeltaNet, variant: Variant) -> Iterator[Tensor]:
    """Yield a gated delta net; Qwen3-Next fuses what Qwen3.5 keeps apart."""
    if variant.fused_projections:
        projections = [
            ("in_proj_qkvz", net.convolved + net.values),
            ("in_proj_ba", 2 * net.value_heads),
        ]
    else:
        projections = [
            ("in_proj_qkv", net.convolved),
            ("in_proj_z", net.values),
            ("in_proj_b", net.value_heads),
            ("in_proj_a", net.value_heads),
        ]
    for name, rows in projections:
        yield from parts.linear(f"{at}.{name}", rows, hidden, "attention", "heads")
    for name, shape in (
        ("conv1d.weight", (net.convolved, 1, net.kernel)),
        ("dt_bias", (net.value_heads,)),
        ("A_log", (net.value_heads,)),
    ):
        yield Tensor(name=f"{at}.{name}", shape=shape, component="attention", shard="heads")
    yield from parts.norm(f"{at}.norm", net.value_width)
    yield from parts.linear(f"{at}.out_proj", hidden, net.values, "attention", "heads")


def feed_forwards(variant: Variant, fields: Fields, names: Names, frame: Frame) -> Feeds:
    """Return the mixtures, or the dense layers of a model without."""
    if variant.mixtures:
        return qwen_moe.feed_forwards(
            fields, names, frame, stacked=variant.stacked, shared=SHARED_WIDTH
        )
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    tensors = parts.feed_forward(f"{names.layer}.mlp", frame.hidden, dense.width)
    return {"dense": (dense, tuple(tensors))}


def draft(names: Names, frame: Frame, layer: Layer, count: int) -> Iterator[Tensor]:
    """Yield the draft: one joining projection, then `count` layers and a norm.

    Embedding and head are the main model's (`mtp_use_dedicated_embeddings` is false).
    """
    if not count:
        return
    yield from as_draft(parts.linear("mtp.fc", frame.hidden, 2 * frame.hidden, "other"))
    yield from as_draft(
        parts.norms("mtp", frame.hidden, "pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm")
    )
    for i in range(count):
        yield from as_draft(layer.tensors, names.layer, f"mtp.layers.{i}")


NEXT = Variant(mixtures=True, stacked=False, fused_projections=True)
READERS: Mapping[str, Reader] = {
    "qwen3_next": partial(read, NEXT),
    "qwen3_5_text": partial(read, Variant(mixtures=False, kv_heads=4)),
    "qwen3_5_moe_text": partial(read, Variant(mixtures=True)),
}
