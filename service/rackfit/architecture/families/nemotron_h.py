"""Nemotron-H and Nemotron 3: each layer one mixer, of Mamba-2, attention, experts or dense.

Sources: transformers, models/nemotron_h; vLLM, nemotron_h_mtp.py for the draft layers. The
attention has no rotary positions. Checkpoints keep everything under `backbone.`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import as_draft, join
from rackfit.architecture.families.llama import grouped
from rackfit.architecture.fields import MAX_LAYERS, Fields
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
    DenseFeedForward,
    ExpertFeedForward,
    FeedForward,
    Layer,
    Tensor,
)

Mixer = tuple[Attention | None, FeedForward | None, Iterator[Tensor]]
"""What a layer remembers, what feeds forward in it, and its tensors."""

UNGATED = ("up_proj", "down_proj")
DEFAULTS = {"num_key_value_heads": 8, "moe_shared_expert_intermediate_size": 7688}
SYMBOLS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
KINDS = {
    "mamba": "mamba",
    "linear_attention": "mamba",
    "attention": "attention",
    "full_attention": "attention",
    "moe": "moe",
    "mlp": "mlp",
}


def read(fields: Fields, names: Names) -> Architecture:
    """Read a pattern of mixers; `num_hidden_layers` may be left out where the list has it."""
    names = msgspec.structs.replace(names, base="backbone.")
    order = read_pattern(fields, "hybrid_override_pattern", "layers_block_type")
    frame = read_frame(fields.or_else(num_hidden_layers=max(1, len(order))))
    frame = msgspec.structs.replace(frame, tied=False)  # the library ties nothing here
    fields.require(
        "num_hidden_layers",
        f"num_hidden_layers = {frame.layers}, but the pattern has {len(order)} layers.",
        holds=len(order) == frame.layers,
    )
    draft_layers = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    drafted = (
        read_pattern(fields, "mtp_hybrid_override_pattern", "mtp_layers_block_type")
        if draft_layers
        else []
    )
    layer = partial(build, fields.or_else(**DEFAULTS), names, frame)
    return assemble(
        names,
        frame,
        stack(order, layer),
        outer=outer(names, frame),
        draft=draft(names, frame, [layer(kind) for kind in drafted]),
        draft_layers=draft_layers,
    )


def read_pattern(fields: Fields, pattern: str, types: str) -> list[str]:
    """Return each layer's mixer, from the list of names or the string of symbols."""
    if fields.has(types):
        words = fields.words(types, length=fields.length(types), known=tuple(KINDS))
        return [KINDS[word] for word in words]
    symbols = fields.text(pattern)
    if not symbols:
        fields.fail(types, f"Neither {types} nor {pattern} says what the layers are.")
    elif not set(symbols) <= set(SYMBOLS) or len(symbols) > MAX_LAYERS:
        fields.fail(
            pattern, f"{pattern} is made of {' '.join(SYMBOLS)}, at most {MAX_LAYERS} of them."
        )
        return []
    return [SYMBOLS[symbol] for symbol in symbols]


def build(fields: Fields, names: Names, frame: Frame, kind: str) -> Layer:
    """Return a layer: one norm and one mixer; only the kinds in use are ever read."""
    attention, feed_forward, mixer = MIXERS[kind](fields, f"{names.layer}.mixer", frame.hidden)
    return Layer(
        attention=attention,
        feed_forward=feed_forward,
        blocks=((*parts.norms(names.layer, frame.hidden, "norm"), *mixer),),
    )


def attention_mixer(fields: Fields, at: str, hidden: int) -> Mixer:
    """Return attention."""
    heads = read_heads(fields, hidden)
    return grouped(heads), None, parts.grouped_attention(at, hidden, heads)


def dense_mixer(fields: Fields, at: str, hidden: int) -> Mixer:
    """Return an ungated feed-forward."""
    dense = DenseFeedForward(width=fields.integer("intermediate_size"), gated=False)
    bias = fields.flag("mlp_bias")
    tensors = parts.feed_forward(at, hidden, dense.width, names=UNGATED, bias=bias)
    return None, dense, tensors


def mamba_mixer(fields: Fields, at: str, hidden: int) -> Mixer:
    """Return a Mamba-2 mixer."""
    mixer = read_mamba(fields)
    return mixer.remembering(), None, mixer.tensors(at, hidden)


def read_mamba(fields: Fields) -> Mamba:
    """Read a Mamba-2 mixer; its state has the model's plain type unless the config says more."""
    plain = read_dtype(fields)
    return Mamba(
        heads=fields.integer("mamba_num_heads"),
        width=fields.integer("mamba_head_dim"),
        groups=fields.integer("n_groups", "mamba_n_groups"),
        state=fields.integer("ssm_state_size"),
        kernel=fields.integer("conv_kernel", "mamba_d_conv", default=4, most=1024),
        bias=fields.flag("use_bias"),
        convolution_bias=fields.flag("use_conv_bias", "mamba_conv_bias", default=True),
        state_dtype=read_dtype(fields, ["mamba_ssm_cache_dtype"], default=plain),
    )


def expert_mixer(fields: Fields, at: str, hidden: int) -> Mixer:
    """Return a mixture of ungated experts, which may work in a narrower latent space."""
    shared = fields.integer("moe_shared_expert_intermediate_size", default=0, least=0)
    experts = msgspec.structs.replace(read_mixture(fields, shared_width=shared), gated=False)
    latent, bias = fields.optional("moe_latent_size"), fields.flag("mlp_bias")
    return None, experts, expert_tensors(at, hidden, experts, latent, bias=bias)


def expert_tensors(
    at: str, hidden: int, experts: ExpertFeedForward, latent: int | None, *, bias: bool
) -> Iterator[Tensor]:
    """Yield router, experts, shared expert and the ways into and out of the latent space.

    Of these only the shared expert may have a bias.
    """
    correction = f"{at}.gate.e_score_correction_bias"
    yield from parts.router(f"{at}.gate", experts.experts, hidden, correction=correction)
    inner = hidden if latent is None else latent
    yield from parts.routed_experts(at, inner, experts.width, experts.experts, names=UNGATED)
    yield from parts.shared_experts(
        f"{at}.shared_experts", hidden, experts.shared_width, names=UNGATED, bias=bias
    )
    if latent is not None:
        yield from parts.linear(f"{at}.fc1_latent_proj", latent, hidden, "other")
        yield from parts.linear(f"{at}.fc2_latent_proj", hidden, latent, "other")


def outer(names: Names, frame: Frame) -> Iterator[Tensor]:
    """Yield embedding, final norm and head."""
    yield parts.embedding("backbone.embeddings.weight", frame)
    yield from parts.norm("backbone.norm_f", frame.hidden)
    if not frame.tied:
        yield from parts.head(names.head, frame)


def draft(names: Names, frame: Frame, layers: Sequence[Layer]) -> Iterator[Tensor]:
    """Yield the draft: layers of its own pattern, joined before and normalised after."""
    if not layers:
        return
    yield from as_draft(join("mtp.layers.0", frame.hidden))
    for i, layer in enumerate(layers):
        yield from as_draft(layer.tensors, names.layer, f"mtp.layers.{i}")
    last = f"mtp.layers.{len(layers) - 1}.final_layernorm"
    yield from as_draft(parts.norm(last, frame.hidden))


MIXERS: Mapping[str, Callable[[Fields, str, int], Mixer]] = {
    "attention": attention_mixer,
    "mamba": mamba_mixer,
    "mlp": dense_mixer,
    "moe": expert_mixer,
}
READERS: Mapping[str, Reader] = {"nemotron_h": read}
