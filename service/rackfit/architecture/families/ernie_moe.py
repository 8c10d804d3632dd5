"""ERNIE 4.5 and Hunyuan mixtures: their dense sisters' attention over shared and routed experts.

Sources: transformers, models/ernie4_5_moe and hunyuan_v1_moe.
"""

from collections.abc import Mapping, Sequence

from rackfit.architecture import parts
from rackfit.architecture.families.llama import (
    BEFORE_EACH,
    Variant,
    attention,
    grouped,
    rotaries,
)
from rackfit.architecture.families.llama_like import VARIANTS
from rackfit.architecture.fields import MAX_EXPERTS, Fields
from rackfit.architecture.frame import (
    Frame,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mixture import Feeds, Kind, checked, mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    Layer,
)


def read_ernie(fields: Fields, names: Names) -> Architecture:
    """Read ERNIE 4.5; its experts may skip the first and the last layers."""
    fields = fields.or_else(tie_word_embeddings=True, num_key_value_heads=4)
    frame = read_frame(fields)
    width = fields.integer("moe_intermediate_size")
    bias = fields.flag("use_bias")
    shared = fields.integer("moe_num_shared_experts", default=2, least=0)
    experts = read_mixture(fields, shared_width=shared * width)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    at = f"{names.layer}.mlp"
    # The bias counts statistics of the router and is not trained by gradients.
    statistics = "moe_statics.e_score_correction_bias"
    sparse = mixture(at, frame.hidden, experts, correction=statistics, shared_bias=bias)
    feeds: Feeds = {
        "sparse": (experts, tuple(sparse)),
        "dense": (dense, tuple(parts.feed_forward(at, frame.hidden, dense.width, bias=bias))),
    }
    kinds = ernie_kinds(fields, frame)
    return read(VARIANTS["ernie4_5"], fields, names, frame, feeds, kinds, head_bias=bias)


def ernie_kinds(fields: Fields, frame: Frame) -> list[Kind]:
    """Return which layers are mixtures; an end of -1 means the last layer."""
    interval = fields.integer("moe_layer_interval", default=1)
    first = fields.integer("moe_layer_start_index", default=1, least=0)
    last = fields.integer("moe_layer_end_index", default=-1, least=-1)
    end = frame.layers - 1 if last < 0 else last
    chosen = [first <= i <= end and (i + 1) % interval == 0 for i in range(frame.layers)]
    return ["sparse" if c else "dense" for c in chosen]


def read_hunyuan(fields: Fields, names: Names) -> Architecture:
    """Read Hunyuan's mixtures, whose configs may repeat a number for every layer."""
    frame = read_frame(fields)
    dense_width = fields.integer("intermediate_size")
    experts = checked(
        fields,
        ExpertFeedForward(
            experts=fields.repeated("num_experts", most=MAX_EXPERTS),
            active=fields.repeated("moe_topk", most=MAX_EXPERTS),
            width=fields.repeated("moe_intermediate_size", default=dense_width),
            shared_width=dense_width * fields.repeated("num_shared_expert", default=1),
        ),
        "moe_topk",
    )
    sparse = mixture(
        f"{names.layer}.mlp", frame.hidden, experts, gate="gate.wg", shared="shared_mlp"
    )
    feeds: Feeds = {"sparse": (experts, tuple(sparse))}
    kinds: list[Kind] = ["sparse"] * frame.layers
    return read(VARIANTS["hunyuan_v1_dense"], fields, names, frame, feeds, kinds)


def read(  # noqa: PLR0917 - what the two families share
    variant: Variant,
    fields: Fields,
    names: Names,
    frame: Frame,
    feeds: Feeds,
    kinds: Sequence[Kind],
    *,
    head_bias: bool = False,
) -> Architecture:
    """Put a family's attention and feed-forwards together."""
    heads = read_heads(fields, frame.hidden)
    mixer = tuple(attention(variant, fields, f"{names.layer}.self_attn", frame, heads))
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(kind: Kind) -> Layer:
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads),
            feed_forward=feed_forward,
            blocks=(mixer, tensors, norms),
        )

    return assemble(
        names,
        frame,
        stack(kinds, layer),
        outer=parts.outer(names, frame, head_bias=head_bias),
        rotaries=rotaries(variant, fields, heads, frame),
    )


READERS: Mapping[str, Reader] = {"ernie4_5_moe": read_ernie, "hunyuan_v1_moe": read_hunyuan}
