"""Gemma 4: full layers of another shape than the sliding ones, experts beside a dense layer.

The small ones share caches among layers and embed each token once more for every layer.
Source: transformers, models/gemma4.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts, rotary
from rackfit.architecture.families.llama import AROUND_EACH, grouped
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
from rackfit.architecture.mixture import read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    FeedForward,
    Layer,
    Rotary,
    Tensor,
)
from rackfit.architecture.windows import LAYER_TYPES

FULL, SLIDING = LAYER_TYPES
FULL_EVERY = 6
DEFAULTS = {
    "head_dim": 256,
    "num_key_value_heads": 4,
    "global_head_dim": 512,
    "max_position_embeddings": 131_072,
    "sliding_window": 512,
    "tie_word_embeddings": True,
    "vocab_size": 262_144,
    "hidden_size_per_layer_input": 256,
}


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """What the layers share: both kinds of heads, the feed-forwards, the per-layer input."""

    sliding: Heads
    full: Heads
    window: int
    values_are_keys: bool
    bias: bool
    width: int
    wide_when_shared: bool
    experts: ExpertFeedForward | None
    per_layer: int


def read(fields: Fields, names: Names) -> Architecture:
    """Read the language model; the last layer is full whatever the list says."""
    fields = fields.or_else(**DEFAULTS)
    frame = read_frame(fields)
    geometry = read_geometry(fields, frame)
    shared = fields.integer("num_kv_shared_layers", default=0, least=0)
    fields.require(
        "num_kv_shared_layers", "Some layer must keep a cache.", holds=shared < frame.layers
    )
    rest = (
        *parts.norms(names.layer, frame.hidden, *AROUND_EACH),
        *per_layer(names.layer, frame.hidden, geometry.per_layer),
        scalar(f"{names.layer}.layer_scalar"),
    )

    def layer(key: tuple[str, bool]) -> Layer:
        kind, reuses = key
        feed_forward, feed = feeding(f"{names.layer}", frame.hidden, geometry, reuses=reuses)
        mixer = attention(f"{names.layer}.self_attn", frame.hidden, geometry, kind, reuses=reuses)
        heads = geometry.full if kind == FULL else geometry.sliding
        remembered = grouped(heads, None if kind == FULL else geometry.window)
        return Layer(
            attention=msgspec.structs.replace(remembered, shares_cache=reuses),
            feed_forward=feed_forward,
            blocks=(tuple(mixer), tuple(feed), rest),
        )

    kinds = layer_kinds(fields, frame.layers)
    keys = [(kind, i >= frame.layers - shared) for i, kind in enumerate(kinds)]
    return assemble(
        names,
        frame,
        stack(keys, layer),
        outer=outer(fields, names, frame, geometry.per_layer),
        rotaries=rotaries(fields, geometry, frame),
    )


def read_geometry(fields: Fields, frame: Frame) -> Geometry:
    """Read the shapes; full layers may have fewer and wider KV heads, whose values are keys."""
    sliding = read_heads(fields, frame.hidden)
    values_are_keys = fields.flag("attention_k_eq_v")
    kv_heads = sliding.kv_heads
    if values_are_keys:
        kv_heads = fields.integer("num_global_key_value_heads", default=kv_heads)
    return Geometry(
        sliding=sliding,
        full=Heads(heads=sliding.heads, kv_heads=kv_heads, width=fields.integer("global_head_dim")),
        window=fields.integer("sliding_window", most=MAX_POSITIONS),
        values_are_keys=values_are_keys,
        bias=fields.flag("attention_bias"),
        width=fields.integer("intermediate_size"),
        wide_when_shared=fields.flag("use_double_wide_mlp"),
        experts=read_experts(fields) if fields.flag("enable_moe_block") else None,
        per_layer=fields.integer("hidden_size_per_layer_input", least=0),
    )


def read_experts(fields: Fields) -> ExpertFeedForward:
    """Read the mixture; a dense feed-forward stands beside it in every layer."""
    active = fields.integer("top_k_experts")
    experts = read_mixture(fields.or_else(num_experts_per_tok=active), shared_width=0)
    return msgspec.structs.replace(experts, dense_width=fields.integer("intermediate_size"))


def layer_kinds(fields: Fields, layers: int) -> list[str]:
    """Return each layer's kind; the last one is always full."""
    if fields.has("layer_types"):
        kinds = fields.words("layer_types", length=layers, known=LAYER_TYPES)
    else:
        kinds = [SLIDING if (i + 1) % FULL_EVERY else FULL for i in range(layers)]
    return [*kinds[:-1], FULL]


def attention(
    at: str, hidden: int, geometry: Geometry, kind: str, *, reuses: bool
) -> Iterator[Tensor]:
    """Yield attention; a layer that reuses a cache has only queries of its own."""
    heads = geometry.full if kind == FULL else geometry.sliding
    projections = {
        t.name: t
        for t in parts.grouped_attention(
            at, hidden, heads, bias=geometry.bias, output_bias=geometry.bias
        )
    }
    dropped = ["k_proj", "v_proj"] if reuses else []
    dropped += ["v_proj"] if geometry.values_are_keys and kind == FULL else []
    yield from (t for name, t in projections.items() if name.split(".")[-2] not in dropped)
    yield from parts.norms(at, heads.width, *(["q_norm"] if reuses else ["q_norm", "k_norm"]))


def feeding(
    at: str, hidden: int, geometry: Geometry, *, reuses: bool
) -> tuple[FeedForward, Iterator[Tensor]]:
    """Return what feeds forward in a layer; layers that reuse a cache may be twice as wide."""
    width = geometry.width * (2 if reuses and geometry.wide_when_shared else 1)
    dense = parts.feed_forward(f"{at}.mlp", hidden, width)
    if geometry.experts is None:
        return DenseFeedForward(width=width), dense
    experts = msgspec.structs.replace(geometry.experts, dense_width=width)
    return experts, _both(at, hidden, experts, dense)


def _both(
    at: str, hidden: int, experts: ExpertFeedForward, dense: Iterator[Tensor]
) -> Iterator[Tensor]:
    yield from dense
    yield from parts.linear(f"{at}.router.proj", experts.experts, hidden, "router")
    yield Tensor(name=f"{at}.router.scale", shape=(hidden,), component="router")
    yield Tensor(name=f"{at}.router.per_expert_scale", shape=(experts.experts,), component="router")
    yield from parts.fused_experts(at, hidden, experts.width, experts.experts)
    for name in ("post_feedforward", "pre_feedforward"):
        yield from parts.norm(f"{at}.{name}_layernorm_2", hidden)
    yield from parts.norm(f"{at}.post_feedforward_layernorm_1", hidden)


def per_layer(at: str, hidden: int, width: int) -> Iterator[Tensor]:
    """Yield what mixes a token's embedding for this layer into it (none where `width` is 0)."""
    if not width:
        return
    yield from parts.linear(f"{at}.per_layer_input_gate", width, hidden, "other")
    yield from parts.linear(f"{at}.per_layer_projection", hidden, width, "other")
    yield from parts.norm(f"{at}.post_per_layer_input_norm", hidden)


def scalar(name: str) -> Tensor:
    """Return a layer's fixed output scale."""
    return Tensor(name=name, shape=(1,), component="other", buffer=True)


def outer(fields: Fields, names: Names, frame: Frame, width: int) -> Iterator[Tensor]:
    """Yield embedding, norm and head, and the second embedding that holds each layer's part."""
    yield from parts.outer(names, frame)
    if not width:
        return
    packed = width * frame.layers
    vocabulary = fields.integer("vocab_size_per_layer_input", default=frame.vocabulary)
    yield Tensor(
        name=f"{names.base}embed_tokens_per_layer.weight",
        shape=(vocabulary, packed),
        component="embedding",
        shard="vocabulary",
    )
    yield from parts.linear(
        f"{names.base}per_layer_model_projection", packed, frame.hidden, "other"
    )
    yield from parts.norm(f"{names.base}per_layer_projection_norm", width)


def rotaries(fields: Fields, geometry: Geometry, frame: Frame) -> tuple[Rotary, ...]:
    """Return a table for each kind of layer; only part of a full layer's head is rotated."""
    settings = fields.section("rope_parameters")
    return tuple(
        rotary.table(settings.section(kind), fields, heads.width, frame.context)
        for kind, heads in ((FULL, geometry.full), (SLIDING, geometry.sliding))
    )


READERS: Mapping[str, Reader] = {"gemma4_text": read}
