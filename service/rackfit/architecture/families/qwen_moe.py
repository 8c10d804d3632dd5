"""Qwen2-MoE, Qwen3-MoE, OLMoE, FlexOlmo: their dense sisters' attention over a mixture of experts.

Sources: transformers, models/qwen2_moe, qwen3_moe, olmoe and flex_olmo.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.llama import Variant, attention, grouped, rotaries
from rackfit.architecture.families.llama_like import AFTER_EACH, QWEN2, QWEN3
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
    shared: int | None = None,
) -> Architecture:
    """Read a mixture; Qwen3-VL's checkpoints hold its experts `stacked`.

    `width` names the field of an expert's width, `shared` is the shared expert's unless the
    config gives it.
    """
    fields = fields.or_else(**variant.defaults)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    feeds = feed_forwards(fields, names, frame, stacked=stacked, width=width, shared=shared)
    mixer = tuple(attention(variant, fields, f"{names.layer}.self_attn", frame, heads))
    norms = tuple(parts.norms(names.layer, frame.hidden, *variant.norms))

    def layer(key: tuple[int | None, Kind]) -> Layer:
        window, kind = key
        geometry, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads, window),
            feed_forward=geometry,
            blocks=(mixer, tensors, norms),
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
    shared: int | None = None,
) -> Feeds:
    """Return the mixtures and, where the config gives their width, the dense layers.

    A family with a shared expert (`shared` is its usual width) gates it, be it 0 wide.
    """
    at = f"{names.layer}.mlp"
    joint = fields.integer("shared_expert_intermediate_size", default=shared or 0, least=0)
    experts = read_mixture(fields, width=(width,), shared_width=joint)
    dense = DenseFeedForward(width=fields.integer("intermediate_size", default=1))
    gated = shared is not None or joint > 0
    sparse = qwen_mixture(at, frame.hidden, experts, stacked=stacked, gated=gated)
    return {
        "sparse": (experts, tuple(sparse)),
        "dense": (dense, tuple(parts.feed_forward(at, frame.hidden, dense.width))),
    }


def qwen_mixture(
    at: str, hidden: int, experts: ExpertFeedForward, *, stacked: bool, gated: bool
) -> Iterator[Tensor]:
    """Yield the mixture; Qwen gates its shared expert by a scalar a token.

    Quantizers and engines leave that gate alone (vLLM, qwen2_moe.py).
    """
    yield from mixture(at, hidden, experts, shared="shared_expert", stacked=stacked)
    if gated:
        gate = f"{at}.shared_expert_gate.weight"
        yield Tensor(name=gate, shape=(1, hidden), component="shared_experts")


def layer_kinds(fields: Fields, layers: int) -> list[Kind]:
    """Return which layers are mixtures: every `decoder_sparse_step`-th not in `mlp_only_layers`.

    Published configs carry switches that these families do not have.
    """
    fields.moot("qkv_bias", "use_qk_norm")
    step = fields.integer("decoder_sparse_step", default=1)
    dense = set(fields.integers("mlp_only_layers")) if fields.has("mlp_only_layers") else set()
    if dense or step > 1:
        fields.require("intermediate_size", WIDTH_MISSING, holds=fields.has("intermediate_size"))
    return ["dense" if i in dense or (i + 1) % step else "sparse" for i in range(layers)]


OLMOE = Variant(query_norm="all")
QWEN2_MOE = msgspec.structs.replace(
    QWEN2, bias="qkv_bias", defaults={"qkv_bias": True, "num_key_value_heads": 16}
)
QWEN3_MOE = msgspec.structs.replace(QWEN3, defaults={"num_key_value_heads": 4})
QWEN3_VL_MOE = msgspec.structs.replace(QWEN3, defaults={"num_key_value_heads": 16})
FLEX_OLMO = msgspec.structs.replace(
    OLMOE, norms=AFTER_EACH, defaults={"num_experts": 7, "num_experts_per_tok": 5}
)
READERS: Mapping[str, Reader] = {
    "flex_olmo": partial(read, FLEX_OLMO, width="intermediate_size"),
    "olmoe": partial(read, OLMOE, width="intermediate_size"),
    "qwen2_moe": partial(read, QWEN2_MOE, shared=5632),
    "qwen3_moe": partial(read, QWEN3_MOE),
    "qwen3_vl_moe_text": partial(read, QWEN3_VL_MOE, stacked=True),
}
