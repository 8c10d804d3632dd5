"""Qwen2-MoE, Qwen3-MoE and OLMoE: their dense sisters' attention over a mixture of experts.

Sources: transformers, models/qwen2_moe, qwen3_moe and olmoe.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, Variant, attention, grouped, rotaries
from rackfit.architecture.families.llama_like import QWEN2, QWEN3
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mixture import Feeds, Kind, mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    Layer,
    Tensor,
)

EXPERT_WIDTH = "moe_intermediate_size"
WIDTH_MISSING = "intermediate_size is missing, and some layers are no mixtures."


def read(
    variant: Variant,
    fields: Fields,
    names: Names,
    *,
    stacked: bool = False,
    width: str = EXPERT_WIDTH,
) -> Architecture:
    """Read a mixture; Qwen3-VL's checkpoints hold its experts `stacked`.

    `width` names the field of an expert's width.
    """
    fields = fields.or_else(**variant.defaults)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    feeds = feed_forwards(fields, names, frame, stacked=stacked, width=width)

    def layer(key: tuple[int | None, Kind]) -> Layer:
        window, kind = key
        geometry, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads, window),
            feed_forward=geometry,
            tensors=(
                *attention(variant, fields, f"{names.layer}.self_attn", frame, heads),
                *tensors,
                *parts.norms(names.layer, frame.hidden, *BEFORE_EACH),
            ),
        )

    keys = zip(
        variant.windows(fields, frame.layers), layer_kinds(fields, frame.layers), strict=True
    )
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=rotaries(variant, fields, heads, frame),
    )


def feed_forwards(
    fields: Fields,
    names: Names,
    frame: Frame,
    *,
    stacked: bool = False,
    width: str = EXPERT_WIDTH,
) -> Feeds:
    """Return the mixtures and, where the config gives their width, the dense layers.

    `shared_expert_intermediate_size` 0 or left out means that no expert is shared.
    """
    at = f"{names.layer}.mlp"
    shared = fields.integer("shared_expert_intermediate_size", default=0, least=0)
    experts = read_mixture(fields, width=(width,), shared_width=shared)
    dense = DenseFeedForward(width=fields.integer("intermediate_size", default=1))
    return {
        "sparse": (experts, tuple(qwen_mixture(at, frame.hidden, experts, stacked=stacked))),
        "dense": (dense, tuple(parts.feed_forward(at, frame.hidden, dense.width))),
    }


def qwen_mixture(
    at: str, hidden: int, experts: ExpertFeedForward, *, stacked: bool = False
) -> Iterator[Tensor]:
    """Yield the mixture; Qwen gates its shared expert by a scalar a token."""
    yield from mixture(at, hidden, experts, shared="shared_expert", stacked=stacked)
    if experts.shared_width:
        yield from parts.linear(f"{at}.shared_expert_gate", 1, hidden, "shared_experts")


def layer_kinds(fields: Fields, layers: int) -> list[Kind]:
    """Return which layers are mixtures: every `decoder_sparse_step`-th not in `mlp_only_layers`."""
    step = fields.integer("decoder_sparse_step", default=1)
    dense = set(fields.integers("mlp_only_layers")) if fields.has("mlp_only_layers") else set()
    if dense or step > 1:
        fields.require("intermediate_size", WIDTH_MISSING, holds=fields.has("intermediate_size"))
    return ["dense" if i in dense or (i + 1) % step else "sparse" for i in range(layers)]


OLMOE = Variant(query_norm="all")
READERS: Mapping[str, Reader] = {
    "olmoe": partial(read, OLMOE, width="intermediate_size"),
    "qwen2_moe": partial(read, QWEN2),
    "qwen3_moe": partial(read, QWEN3),
    "qwen3_vl_moe_text": partial(read, QWEN3, stacked=True),
}
