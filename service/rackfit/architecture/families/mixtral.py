"""Mixtral, MiniMax-M2 and Phi-3.5-MoE: every layer a mixture, experts named w1, w2 and w3.

Sources: transformers, models/mixtral, minimax_m2 and phimoe; the checkpoints' own names.
"""

from collections.abc import Mapping
from functools import partial

import msgspec

from rackfit.architecture import parts, windows
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mixture import mixture, read_mixture
from rackfit.architecture.model import Architecture, Layer
from rackfit.architecture.rotary import read_rotary


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A norm over all query and key heads at once, a load-balancing bias, biases, or none.

    `biased` norms are LayerNorms; attention and head then have a bias where the config says so.
    """

    query_norm: bool = False
    head_width: int | None = None
    correction: str | None = None
    biased: bool = False


def read(variant: Variant, fields: Fields, names: Names) -> Architecture:
    """Read a mixture whose experts have the width `intermediate_size`."""
    fields = fields.or_else(num_key_value_heads=8, head_dim=variant.head_width)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    experts = read_mixture(fields, width=("intermediate_size",))
    at = f"{names.layer}.self_attn"
    bias = variant.biased and fields.flag("attention_bias")
    head_bias = variant.biased and fields.flag("lm_head_bias")
    norms = (
        *parts.norm(f"{at}.q_norm", heads.heads * heads.width),
        *parts.norm(f"{at}.k_norm", heads.kv_heads * heads.width),
    )
    tensors = (
        *parts.grouped_attention(at, frame.hidden, heads, bias=bias, output_bias=bias),
        *(norms if variant.query_norm else ()),
        *mixture(
            f"{names.layer}.block_sparse_moe",
            frame.hidden,
            experts,
            correction=variant.correction,
            names=parts.MIXTRAL,
        ),
        *parts.norms(names.layer, frame.hidden, *BEFORE_EACH, bias=variant.biased),
    )

    def layer(window: int | None) -> Layer:
        return Layer(attention=grouped(heads, window), feed_forward=experts, blocks=(tensors,))

    return assemble(
        names,
        frame,
        stack(windows.every_layer(fields, frame.layers), layer),
        outer=parts.outer(names, frame, norm_bias=variant.biased, head_bias=head_bias),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


# MiniMax-M2's configs announce three multi-token-prediction modules; its published checkpoints
# hold none of them (229 B parameters in the repository, all of the main model), so no draft.
MINIMAX_M2 = Variant(
    query_norm=True,
    head_width=128,
    correction="e_score_correction_bias",
)

READERS: Mapping[str, Reader] = {
    "mixtral": partial(read, Variant()),
    "minimax_m2": partial(read, MINIMAX_M2),
    "phimoe": partial(read, Variant(biased=True)),
}
