"""Falcon-H1, Bamba, LFM2 and MiniMax-01: attention beside Mamba, short convolutions or lightning.

Sources: transformers, models/falcon_h1, bamba, lfm2, lfm2_moe and minimax.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.granite_moe import read_mamba
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import MAX_LAYERS, Fields
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
from rackfit.architecture.mixture import Kind, mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    FeedForward,
    Layer,
    RecurrentAttention,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

NORMS = ("input_layernorm", "pre_ff_layernorm")
LFM2_TYPES = ("full_attention", "conv")
LFM2_NORMS = ("operator_norm", "ffn_norm")
MINIMAX_TYPES = ("full_attention", "linear_attention")


def read_bamba(fields: Fields, names: Names) -> Architecture:
    """Read Bamba: Mamba-2 layers, attention at the indices the config lists."""
    fields = fields.or_else(num_key_value_heads=8, mamba_n_heads=128, mamba_d_state=256)
    frame = read_frame(fields)
    heads, bias = read_heads(fields, frame.hidden), fields.flag("attention_bias")
    mamba = read_mamba(fields, frame)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    at = f"{names.layer}.self_attn"
    attention = parts.grouped_attention(at, frame.hidden, heads, bias=bias, output_bias=bias)
    mixers = {
        True: tuple(attention),
        False: tuple(mamba.tensors(f"{names.layer}.mamba", frame.hidden)),
    }
    rest = tuple(_rest(fields, names, frame, dense))
    indices = fields.integers("attn_layer_indices") if fields.has("attn_layer_indices") else []

    def layer(full: bool) -> Layer:  # noqa: FBT001 - a key
        state = grouped(heads) if full else mamba.remembering()
        return Layer(attention=state, feed_forward=dense, blocks=(mixers[full], rest))

    return assemble(
        names,
        frame,
        stack([i in indices for i in range(frame.layers)], layer),
        outer=parts.outer(names, frame, final="final_layernorm"),
        rotaries=(
            read_rotary(fields.or_else(partial_rotary_factor=0.5), heads.width, frame.context),
        ),
    )


def read_falcon_h1(fields: Fields, names: Names) -> Architecture:
    """Read Falcon-H1, whose layers run attention and Mamba-2 abreast.

    Both keep a state, so each half of a layer counts as one here: attention first, then Mamba
    with the feed-forward.
    """
    fields = fields.or_else(num_key_value_heads=8, mamba_n_heads=128, mamba_d_state=256)
    fields = fields.or_else(mamba_d_ssm=1024)
    frame = read_frame(fields)
    frame = msgspec.structs.replace(frame, layers=2 * frame.layers)
    heads, bias = read_heads(fields, frame.hidden), fields.flag("attention_bias")
    mamba = msgspec.structs.replace(
        read_mamba(fields, frame, fields.optional("mamba_d_ssm")),
        output_bias=fields.flag("projectors_bias"),
        normed=fields.flag("mamba_rms_norm"),
    )
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    attention = parts.grouped_attention(
        f"{names.layer}.self_attn", frame.hidden, heads, bias=bias, output_bias=bias
    )
    halves = (
        Layer(attention=grouped(heads), feed_forward=None, blocks=(tuple(attention),)),
        Layer(
            attention=mamba.remembering(),
            feed_forward=dense,
            blocks=(
                tuple(mamba.tensors(f"{names.layer}.mamba", frame.hidden)),
                tuple(_rest(fields, names, frame, dense)),
            ),
        ),
    )
    return assemble(
        names,
        frame,
        stack([i % 2 for i in range(frame.layers)], halves.__getitem__),
        outer=parts.outer(names, frame, final="final_layernorm"),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def _rest(fields: Fields, names: Names, frame: Frame, dense: DenseFeedForward) -> Iterator[Tensor]:
    """Yield feed-forward and norms, which every layer of Bamba and Falcon-H1 has."""
    at, bias = f"{names.layer}.feed_forward", fields.flag("mlp_bias")
    yield from parts.feed_forward(at, frame.hidden, dense.width, bias=bias)
    yield from parts.norms(names.layer, frame.hidden, *NORMS)


def read_lfm2_moe(fields: Fields, names: Names) -> Architecture:
    """Read LFM2's mixtures."""
    return read_lfm2(fields.or_else(num_experts=32, num_experts_per_tok=4), names)


def read_lfm2(fields: Fields, names: Names) -> Architecture:
    """Read LFM2: gated short convolutions, attention among them, experts in the larger ones."""
    fields = fields.or_else(tie_word_embeddings=True, num_key_value_heads=8)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    kernel, bias = fields.integer("conv_L_cache", default=3, most=1024), fields.flag("conv_bias")
    mixers = {
        True: tuple(_lfm2_attention(f"{names.layer}.self_attn", frame.hidden, heads)),
        False: tuple(_convolution(f"{names.layer}.conv", frame.hidden, kernel, bias=bias)),
    }
    feeds = _lfm2_feeds(fields, names, frame)
    norms = tuple(parts.norms(names.layer, frame.hidden, *LFM2_NORMS))
    state = RecurrentAttention(
        heads=frame.hidden, convolution_elements=frame.hidden * (kernel - 1), state_elements=0
    )

    def layer(key: tuple[bool, Kind]) -> Layer:
        full, kind = key
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads) if full else state,
            feed_forward=feed_forward,
            blocks=(mixers[full], tensors, norms),
        )

    dense = fields.integer("num_dense_layers", default=2, least=0)
    kinds: list[Kind] = [
        "sparse" if i >= dense and "sparse" in feeds else "dense" for i in range(frame.layers)
    ]
    return assemble(
        names,
        frame,
        stack(tuple(zip(_lfm2_full(fields, frame.layers), kinds, strict=True)), layer),
        outer=parts.outer(names, frame, final="embedding_norm"),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def _lfm2_full(fields: Fields, layers: int) -> list[bool]:
    """Say which layers are attention: all, unless a list says otherwise."""
    if fields.has("layer_types"):
        fields.moot("full_attn_idxs")
        types = fields.words("layer_types", length=layers, known=LFM2_TYPES)
        return [t == LFM2_TYPES[0] for t in types]
    if not fields.has("full_attn_idxs"):
        return [True] * layers
    indices = set(fields.integers("full_attn_idxs", most=MAX_LAYERS))
    return [i in indices for i in range(layers)]


def _lfm2_attention(at: str, hidden: int, heads: Heads) -> Iterator[Tensor]:
    yield from parts.grouped_attention(at, hidden, heads, output="out_proj")
    yield from parts.norms(at, heads.width, "q_layernorm", "k_layernorm")


def _convolution(at: str, hidden: int, kernel: int, *, bias: bool) -> Iterator[Tensor]:
    """Yield a short convolution between its gates."""
    yield Tensor(
        name=f"{at}.conv.weight", shape=(hidden, 1, kernel), component="attention", shard="heads"
    )
    if bias:
        yield Tensor(name=f"{at}.conv.bias", shape=(hidden,), component="attention", shard="heads")
    yield from parts.linear(f"{at}.in_proj", 3 * hidden, hidden, "attention", "heads", bias=bias)
    yield from parts.linear(
        f"{at}.out_proj", hidden, hidden, "attention", "heads", bias=bias, bias_shard="replicated"
    )


def _lfm2_feeds(
    fields: Fields, names: Names, frame: Frame
) -> Mapping[Kind, tuple[FeedForward, tuple[Tensor, ...]]]:
    """Return the dense feed-forward and, where the config has experts, the mixture."""
    at, hidden = f"{names.layer}.feed_forward", frame.hidden
    dense = DenseFeedForward(width=_lfm2_width(fields))
    plain = tuple(parts.feed_forward(at, hidden, dense.width, names=parts.MIXTRAL))
    if not fields.has("num_experts"):
        return {"dense": (dense, plain)}
    experts = read_mixture(fields, shared_width=0)
    correction = "expert_bias" if fields.flag("use_expert_bias", default=True) else None
    sparse = tuple(mixture(at, hidden, experts, correction=correction, names=parts.MIXTRAL))
    return {"dense": (dense, plain), "sparse": (experts, sparse)}


def _lfm2_width(fields: Fields) -> int:
    """Return the dense width; the dense models adjust theirs as the first Llama did."""
    width = fields.integer("intermediate_size", "block_ff_dim")
    if fields.has("num_experts") or not fields.flag("block_auto_adjust_ff_dim", default=True):
        return width
    width = int(2 * width / 3)
    width = int(fields.number("block_ffn_dim_multiplier", default=1.0) * width)
    multiple = fields.integer("block_multiple_of", default=256)
    return max(1, -(-width // multiple) * multiple)


def read_minimax(fields: Fields, names: Names) -> Architecture:
    """Read MiniMax-01: lightning attention, whose state is a matrix a head, and mixtures."""
    fields = fields.or_else(num_key_value_heads=8)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    experts = read_mixture(fields, width=("intermediate_size",), shared_width=0)
    at = f"{names.layer}.self_attn"
    mixers = {
        True: tuple(parts.grouped_attention(at, frame.hidden, heads)),
        False: tuple(_lightning(at, frame.hidden, heads)),
    }
    rest = tuple(_minimax_rest(names, frame, experts))
    state = RecurrentAttention(
        heads=heads.heads,
        convolution_elements=0,
        state_elements=heads.heads * heads.width * heads.width,
    )

    def layer(full: bool) -> Layer:  # noqa: FBT001 - a key
        return Layer(
            attention=grouped(heads) if full else state,
            feed_forward=experts,
            blocks=(mixers[full], rest),
        )

    return assemble(
        names,
        frame,
        stack(_minimax_full(fields, frame.layers), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def _minimax_full(fields: Fields, layers: int) -> list[bool]:
    """Say which layers are softmax attention; repositories write 1 for them in a list."""
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=MINIMAX_TYPES)
        return [t == MINIMAX_TYPES[0] for t in types]
    if fields.has("attn_type_list"):
        return [flag == 1 for flag in fields.integers("attn_type_list", length=layers, most=1)]
    return [i % 2 == 0 for i in range(layers)]


def _lightning(at: str, hidden: int, heads: Heads) -> Iterator[Tensor]:
    inner = heads.heads * heads.width
    yield from parts.linear(f"{at}.qkv_proj", 3 * inner, hidden, "attention", "heads")
    yield from parts.linear(f"{at}.out_proj", hidden, inner, "attention", "heads")
    yield from parts.linear(f"{at}.output_gate", inner, hidden, "attention", "heads")
    yield from parts.norm(f"{at}.norm", inner)


def _minimax_rest(names: Names, frame: Frame, experts: ExpertFeedForward) -> Iterator[Tensor]:
    at = f"{names.layer}.block_sparse_moe"
    yield from mixture(at, frame.hidden, experts, names=parts.MIXTRAL)
    yield from parts.norms(names.layer, frame.hidden, *BEFORE_EACH)


READERS: Mapping[str, Reader] = {
    "bamba": read_bamba,
    "falcon_h1": read_falcon_h1,
    "lfm2": read_lfm2,
    "lfm2_moe": read_lfm2_moe,
    "minimax": read_minimax,
    "minimax_m1": read_minimax,
    "minimax_text_01": read_minimax,
}
