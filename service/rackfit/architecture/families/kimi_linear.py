"""Kimi Linear and Kimi K3's language model: Kimi delta attention with latent attention between.

Sources: transformers, models/kimi_linear and conversion_mapping (the checkpoint's names); the
Kimi K3 report and vLLM, kimi_k3.py for K3's latent experts, output gates and attention residuals.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.deepseek import read_latent, remembering
from rackfit.architecture.families.llama import BEFORE_EACH
from rackfit.architecture.fields import MAX_LAYERS, Fields
from rackfit.architecture.frame import Frame, Names, Reader, assemble, read_frame, stack
from rackfit.architecture.mixture import Feeds, Kind, layer_kinds, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    Layer,
    RecurrentAttention,
    Tensor,
)

LAYER_TYPES = ("linear_attention", "full_attention")
RESIDUALS = ("self_attention_res", "mlp_res")


class DeltaAttention(msgspec.Struct, frozen=True, kw_only=True):
    """Kimi delta attention's geometry: as many keys and values as heads, all of one width."""

    heads: int
    width: int
    kernel: int
    full_rank_gate: bool

    @property
    def channels(self) -> int:
        """Elements of all queries (or keys, or values) of a token."""
        return self.heads * self.width


def read(fields: Fields, names: Names) -> Architecture:
    """Read a pattern of linear and full layers; its positions come from the linear ones alone."""
    fields = fields.or_else(num_shared_experts=1)
    frame = read_frame(fields)
    delta = read_delta(fields)
    latent = read_latent(fields)
    feeds = feed_forwards(fields, names, frame)
    gated, bias = fields.flag("mla_use_output_gate"), fields.flag("attention_bias")
    residual = fields.has("attn_res_block_size")
    at = f"{names.layer}.self_attn"
    mixers = {
        True: tuple(full_attention(at, frame.hidden, latent, gated=gated, bias=bias)),
        False: tuple(delta_attention(at, frame.hidden, delta)),
    }
    rest = (
        *parts.norms(names.layer, frame.hidden, *BEFORE_EACH),
        *(residuals(names.layer, frame.hidden, RESIDUALS) if residual else ()),
    )

    def layer(key: tuple[bool, Kind]) -> Layer:
        full, kind = key
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=remembering(latent, None, own=False) if full else state(delta),
            feed_forward=feed_forward,
            blocks=(mixers[full], tensors, rest),
        )

    keys = zip(
        full_layers(fields, frame.layers),
        layer_kinds(fields, frame.layers, first_dense=1),
        strict=True,
    )
    last = residuals(names.base.rstrip("."), frame.hidden, ("output_attn_res",))
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=(*parts.outer(names, frame), *(last if residual else ())),
    )


def full_layers(fields: Fields, layers: int) -> list[bool]:
    """Say which layers are full attention; the repository's config counts them from 1."""
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
        return [t == LAYER_TYPES[1] for t in types]
    section = fields.section("linear_attn_config")
    full = set(section.integers("full_attn_layers", most=MAX_LAYERS))
    linear = set(section.integers("kda_layers", most=MAX_LAYERS))
    section.require(
        "kda_layers",
        f"full_attn_layers and kda_layers must name each of {layers} layers once.",
        holds=full | linear == set(range(1, layers + 1)) and not full & linear,
    )
    return [number in full for number in range(1, layers + 1)]


def read_delta(fields: Fields) -> DeltaAttention:
    """Read delta attention's heads, nested as repositories have them or flat as the library."""
    if not fields.has("linear_attn_config"):
        return DeltaAttention(
            heads=fields.integer("linear_num_heads"),
            width=fields.integer("linear_head_dim"),
            kernel=fields.integer("linear_conv_kernel_dim", default=4, most=1024),
            full_rank_gate=False,
        )
    section = fields.section("linear_attn_config")
    return DeltaAttention(
        heads=section.integer("num_heads"),
        width=section.integer("head_dim"),
        kernel=section.integer("short_conv_kernel_size", default=4, most=1024),
        full_rank_gate=section.flag("use_full_rank_gate"),
    )


def state(delta: DeltaAttention) -> RecurrentAttention:
    """Return the state of a sequence: three convolutions' tails and a matrix a head."""
    return RecurrentAttention(
        heads=delta.heads,
        convolution_elements=3 * delta.channels * (delta.kernel - 1),
        state_elements=delta.channels * delta.width,
    )


def full_attention(
    at: str, hidden: int, latent: parts.Latent, *, gated: bool, bias: bool
) -> Iterator[Tensor]:
    """Yield latent attention and, in K3, the gate of its output."""
    yield from parts.latent_attention(at, hidden, latent, bias=bias)
    if gated:
        rows = latent.heads * latent.value
        yield from parts.linear(f"{at}.g_proj", rows, hidden, "attention", "heads")


def delta_attention(at: str, hidden: int, delta: DeltaAttention) -> Iterator[Tensor]:
    """Yield delta attention; its forget gate, and most often its output gate, has low rank."""
    channels, width = delta.channels, delta.width
    for name in ("q", "k", "v"):
        yield from parts.linear(f"{at}.{name}_proj", channels, hidden, "attention", "heads")
        yield _vector(f"{at}.{name}_conv1d.weight", channels, 1, delta.kernel)
    yield from _low_rank(f"{at}.f", channels, width, hidden)
    yield _vector(f"{at}.dt_bias", channels)
    yield _vector(f"{at}.A_log", 1, 1, delta.heads, 1)
    yield from parts.linear(f"{at}.b_proj", delta.heads, hidden, "attention", "heads")
    if delta.full_rank_gate:
        yield from parts.linear(f"{at}.g_proj", channels, hidden, "attention", "heads")
    else:
        yield from _low_rank(f"{at}.g", channels, width, hidden)
    yield from parts.norm(f"{at}.o_norm", width)
    yield from parts.linear(f"{at}.o_proj", hidden, channels, "attention", "heads")


def _low_rank(at: str, rows: int, rank: int, columns: int) -> Iterator[Tensor]:
    yield from parts.linear(f"{at}_a_proj", rank, columns, "attention")
    yield from parts.linear(f"{at}_b_proj", rows, rank, "attention", "heads")


def _vector(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, shape=shape, component="attention", shard="heads")


def feed_forwards(fields: Fields, names: Names, frame: Frame) -> Feeds:
    """Return the mixtures, in K3 of experts in a narrower latent space, and the dense layers."""
    experts = read_mixture(fields)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    latent = fields.optional("routed_expert_hidden_size")
    normed = fields.flag("latent_moe_use_norm")
    at = f"{names.layer}.block_sparse_moe"
    sparse = (
        *mixture(at, frame.hidden, experts, frame.hidden if latent is None else latent),
        *(() if latent is None else latent_space(at, frame.hidden, latent, normed=normed)),
    )
    plain = parts.feed_forward(f"{names.layer}.mlp", frame.hidden, dense.width)
    return {"sparse": (experts, sparse), "dense": (dense, tuple(plain))}


def mixture(at: str, hidden: int, experts: ExpertFeedForward, inner: int) -> Iterator[Tensor]:
    """Yield router, experts of an `inner` width and shared experts of the model's own."""
    correction = f"{at}.gate.e_score_correction_bias"
    yield from parts.router(f"{at}.gate", experts.experts, hidden, correction=correction)
    yield from parts.routed_experts(at, inner, experts.width, experts.experts, names=parts.MIXTRAL)
    yield from parts.shared_experts(f"{at}.shared_experts", hidden, experts.shared_width)


def latent_space(at: str, hidden: int, latent: int, *, normed: bool) -> Iterator[Tensor]:
    """Yield the ways into and out of the experts' latent space, which every token takes.

    K3's checkpoint keeps them in its plain type: its 1.56 TB leave no other reading.
    """
    for name, shape in (("down", (latent, hidden)), ("up", (hidden, latent))):
        yield Tensor(name=f"{at}.routed_expert_{name}_proj.weight", shape=shape, component="other")
    if normed:
        yield from parts.norm(f"{at}.routed_expert_norm", latent)


def residuals(at: str, hidden: int, names: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield what attends over the residuals of earlier blocks of layers (K3 report, 2.2)."""
    for name in names:
        yield from parts.norm(f"{at}.{name}_norm", hidden)
        yield from parts.linear(f"{at}.{name}_proj", 1, hidden, "other")


READERS: Mapping[str, Reader] = {"kimi_linear": read}
