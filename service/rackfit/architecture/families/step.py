"""Step-3.5 and Step-3.7: gated attention, sliding layers with heads of their own, mixtures.

Sources: transformers, models/step3p7 and conversion_mapping (the checkpoints' names); vLLM,
step3p5_mtp.py for the draft layers.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import appended_layers, as_draft
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import MAX_POSITIONS, Fields
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
from rackfit.architecture.mixture import Feeds, Kind, read_mixture
from rackfit.architecture.mixture import layer_kinds as listed_kinds
from rackfit.architecture.model import Architecture, DenseFeedForward, Layer, Rotary, Tensor
from rackfit.architecture.rotary import read_rotary
from rackfit.architecture.windows import LAYER_TYPES

FULL, SLIDING = LAYER_TYPES
FIRST_DENSE = 3


def read(fields: Fields, names: Names) -> Architecture:
    """Read the language model; entries behind the layers in its lists are the draft's."""
    fields = fields.or_else(head_dim=128)
    frame = read_frame(fields)
    heads = read_both_heads(fields, frame)
    window = fields.optional("sliding_window", most=MAX_POSITIONS)
    feeds = feed_forwards(fields, names, frame)
    draft_layers = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    mixes, kinds = layer_types(fields, frame.layers, draft_layers)
    mixers = {
        mix: tuple(attention(f"{names.layer}.self_attn", frame.hidden, heads[mix], fields))
        for mix in heads
    }
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[str, Kind]) -> Layer:
        mix, kind = key
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads[mix], window if mix == SLIDING else None),
            feed_forward=feed_forward,
            blocks=(mixers[mix], tensors, norms),
        )

    keys = zip(mixes[: frame.layers], kinds, strict=True)
    drafted = [layer((mix, "dense")) for mix in mixes[frame.layers :]]
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=tuple(rotaries(fields, heads, mixes, frame)),
        draft=draft(names, frame, drafted),
        draft_layers=draft_layers,
    )


def read_both_heads(fields: Fields, frame: Frame) -> dict[str, Heads]:
    """Read the heads of full layers and those of sliding ones, which may be more."""
    full = read_heads(fields, frame.hidden, kv_heads=8)
    other = fields.section("attention_other_setting")
    sliding = Heads(
        heads=other.integer("num_attention_heads", default=full.heads),
        kv_heads=other.integer("num_attention_groups", default=full.kv_heads),
        width=other.integer("head_dim", default=full.width),
    )
    return {FULL: full, SLIDING: sliding}


def layer_types(fields: Fields, layers: int, draft_layers: int) -> tuple[list[str], list[Kind]]:
    """Return each layer's attention (drafts included) and what feeds forward in it."""
    mixes = [FULL] * (layers + draft_layers)
    if fields.has("layer_types"):
        mixes = fields.words("layer_types", length=layers, known=LAYER_TYPES, spare=draft_layers)
        mixes += [FULL] * (layers + draft_layers - len(mixes))
    if not fields.has("moe_layers_enum"):
        return mixes, listed_kinds(fields, layers, first_dense=FIRST_DENSE)
    chosen = set(fields.text("moe_layers_enum").replace(" ", "").split(",")) - {""}
    detail = f"moe_layers_enum holds numbers of layers below {layers}, between commas."
    holds = chosen.issubset(map(str, range(layers)))
    fields.require("moe_layers_enum", detail, holds=holds)
    return mixes, ["sparse" if str(i) in chosen else "dense" for i in range(layers)]


def feed_forwards(fields: Fields, names: Names, frame: Frame) -> Feeds:
    """Return the mixtures, whose experts checkpoints stack by matrix, and the dense layers."""
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    shared = fields.integer("share_expert_dim", "share_expert_dims", default=1280, least=0)
    experts = read_mixture(fields, shared_width=shared)
    at, bias = f"{names.layer}.moe", fields.flag("mlp_bias")
    routed = parts.feed_forward(
        at, frame.hidden, experts.width, "routed_experts", "experts", copies=experts.experts
    )
    correction = f"{at}.router_bias"
    sparse = (
        *parts.router(f"{at}.gate", experts.experts, frame.hidden, correction=correction),
        *routed,
        *parts.shared_experts(f"{names.layer}.share_expert", frame.hidden, shared, bias=bias),
    )
    plain = parts.feed_forward(f"{names.layer}.mlp", frame.hidden, dense.width, bias=bias)
    return {"sparse": (experts, sparse), "dense": (dense, tuple(plain))}


def attention(at: str, hidden: int, heads: Heads, fields: Fields) -> Iterator[Tensor]:
    """Yield attention with normalised queries and keys and one output gate a head."""
    bias = fields.flag("attention_bias")
    yield from parts.grouped_attention(at, hidden, heads, bias=bias, output_bias=bias)
    yield from parts.norms(at, heads.width, "q_norm", "k_norm")
    yield from parts.linear(f"{at}.g_proj", heads.heads, hidden, "attention", "heads")


def rotaries(
    fields: Fields, heads: Mapping[str, Heads], mixes: Sequence[str], frame: Frame
) -> Iterator[Rotary]:
    """Yield a table for each kind of layer there is; some rotate only part of a head."""
    factors = [1.0] * len(mixes)
    if fields.has("partial_rotary_factors"):
        spare = len(mixes) - frame.layers
        factors[: frame.layers] = fields.numbers(
            "partial_rotary_factors", length=frame.layers, spare=spare
        )
    for mix in dict.fromkeys(mixes):
        factor = factors[mixes.index(mix)]
        width = max(1, int(heads[mix].width * factor))
        scaled = read_rotary(fields, width, frame.context)
        yield scaled if mix == FULL else Rotary(positions=frame.context, width=width)


def draft(names: Names, frame: Frame, layers: Sequence[Layer]) -> Iterator[Tensor]:
    """Yield the draft layers; unlike DeepSeek's each has a head of its own that engines load."""
    for i, layer in enumerate(layers):
        number = frame.layers + i
        after = msgspec.structs.replace(frame, layers=number)
        yield from appended_layers(names, after, layer, 1)
        output = f"{names.base}layers.{number}.shared_head.output"
        yield from as_draft(parts.head(output, frame))


READERS: Mapping[str, Reader] = {"step3p5": read}
