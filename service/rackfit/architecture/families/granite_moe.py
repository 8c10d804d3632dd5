"""Granite's mixtures and Granite 4: Mamba-2 beside attention, stacked experts, a shared one.

Sources: transformers, models/granitemoe, granitemoeshared and granitemoehybrid; conversion_mapping
for the checkpoints' names.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Names,
    Reader,
    assemble,
    read_dtype,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mamba import Mamba
from rackfit.architecture.mixture import read_mixture
from rackfit.architecture.model import (
    Architecture,
    Attention,
    Component,
    DenseFeedForward,
    FeedForward,
    Layer,
    Shard,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

RECURRENT = ("mamba", "linear_attention")
LAYER_TYPES = ("attention", "full_attention", *RECURRENT)


def read(fields: Fields, names: Names, *, hybrid: bool = False) -> Architecture:
    """Read a Granite mixture; a `hybrid` one has Mamba layers and may have no experts."""
    if hybrid:
        fields = fields.or_else(num_local_experts=8, shared_intermediate_size=1024)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    feed_forward, feeding = feed_forwards(fields, names, frame)
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(kind: str) -> Layer:
        attention, mixer = mixing(fields, names, frame, recurrent=kind in RECURRENT)
        return Layer(
            attention=attention,
            feed_forward=feed_forward,
            blocks=(tuple(mixer), feeding, norms),
        )

    kinds = ["attention"] * frame.layers
    if hybrid:
        kinds = fields.words("layer_types", length=frame.layers, known=LAYER_TYPES)
    turning = not hybrid or fields.text("position_embedding_type") == "rope"
    return assemble(
        names,
        frame,
        stack(kinds, layer),
        outer=parts.outer(names, frame),
        rotaries=[read_rotary(fields, heads.width, frame.context)] if turning else [],
    )


def mixing(
    fields: Fields, names: Names, frame: Frame, *, recurrent: bool
) -> tuple[Attention, Iterator[Tensor]]:
    """Return what a layer remembers and its mixer's tensors."""
    if recurrent:
        mamba = read_mamba(fields, frame)
        return mamba.remembering(), mamba.tensors(f"{names.layer}.mamba", frame.hidden)
    heads, bias = read_heads(fields, frame.hidden), fields.flag("attention_bias")
    at = f"{names.layer}.self_attn"
    tensors = parts.grouped_attention(at, frame.hidden, heads, bias=bias, output_bias=bias)
    return grouped(heads), tensors


def read_mamba(fields: Fields, frame: Frame, inner: int | None = None) -> Mamba:
    """Read the Mamba-2 mixer; a head's width "auto" follows from `inner` or `mamba_expand`."""
    heads = fields.integer("mamba_n_heads")
    if inner is None:
        inner = fields.integer("mamba_expand", default=2, most=1024) * frame.hidden
    detail = f"mamba_n_heads = {heads} must divide the mixer's {inner} channels."
    fields.require("mamba_n_heads", detail, holds=inner % heads == 0)
    return Mamba(
        heads=heads,
        width=max(1, inner // heads),
        groups=fields.integer("mamba_n_groups", default=1),
        state=fields.integer("mamba_d_state"),
        kernel=fields.integer("mamba_d_conv", default=4, most=1024),
        bias=fields.flag("mamba_proj_bias"),
        convolution_bias=fields.flag("mamba_conv_bias", default=True),
        state_dtype=read_dtype(fields),
    )


def feed_forwards(
    fields: Fields, names: Names, frame: Frame
) -> tuple[FeedForward, tuple[Tensor, ...]]:
    """Return what feeds forward in every layer: experts beside a shared one, or it alone."""
    shared = fields.integer("shared_intermediate_size", default=0, least=0)
    at = f"{names.layer}.shared_mlp"
    if fields.integer("num_local_experts", default=0, least=0) == 0:
        dense = DenseFeedForward(width=fields.integer("shared_intermediate_size"))
        tensors = fused(at, frame.hidden, shared, "dense_feed_forward", "feed_forward")
        return dense, tuple(tensors)
    experts = read_mixture(fields, width=("intermediate_size",), shared_width=shared)
    mixture = f"{names.layer}.block_sparse_moe"
    routed = fused(
        mixture, frame.hidden, experts.width, "routed_experts", "experts", experts.experts
    )
    beside = fused(at, frame.hidden, shared, "shared_experts", "shared_experts")
    router = parts.router(f"{mixture}.router.layer", experts.experts, frame.hidden)
    return experts, (*router, *routed, *(beside if shared else ()))


def fused(  # noqa: PLR0917 - a matrix, what it belongs to and how often it stands
    at: str, hidden: int, width: int, component: Component, shard: Shard, copies: int = 1
) -> Iterator[Tensor]:
    """Yield a gated feed-forward with gate and up in one matrix, as Granite names them."""
    for name, rows, columns in (("input", 2 * width, hidden), ("output", hidden, width)):
        yield from parts.linear(
            f"{at}.{name}_linear", rows, columns, component, shard, copies=copies
        )


READERS: Mapping[str, Reader] = {
    "granitemoe": read,
    "granitemoehybrid": partial(read, hybrid=True),
    "granitemoeshared": read,
}
