"""GPT-2, GPT-NeoX, Falcon and OLMo: decoders with fused attention or unusual norms.

Sources: transformers, models/gpt2, gpt_neox, falcon and olmo.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.llama import grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Heads,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
)
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    Layer,
    Rotary,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

H_TO_4H = ("dense_h_to_4h", "dense_4h_to_h")


def read_gpt2(fields: Fields, names: Names) -> Architecture:
    """Read GPT-2."""
    return gpt2_like(fields, names, kv_heads=None)


def gpt2_like(fields: Fields, names: Names, *, kv_heads: int | None) -> Architecture:
    """Read learned positions, a bias everywhere, the head tied to the embedding."""
    frame = read_frame(fields.or_else(tie_word_embeddings=True))
    heads = read_heads(fields, frame.hidden)
    heads = msgspec.structs.replace(heads, kv_heads=kv_heads or heads.heads)
    dense = DenseFeedForward(width=fields.integer("n_inner", default=4 * frame.hidden), gated=False)
    at = "transformer.h.*"
    tensors = (
        *fused_attention(f"{at}.attn", frame.hidden, heads, ("c_attn", "c_proj"), bias=True),
        *parts.feed_forward(
            f"{at}.mlp", frame.hidden, dense.width, names=("c_fc", "c_proj"), bias=True
        ),
        *parts.norms(at, frame.hidden, "ln_1", "ln_2", bias=True),
    )
    positions = Tensor(
        name="transformer.wpe.weight", shape=(frame.context, frame.hidden), component="embedding"
    )
    embedding = parts.embedding("transformer.wte.weight", frame)
    final = parts.norm("transformer.ln_f", frame.hidden, bias=True)
    outer = (embedding, positions, *final, *_head(names, frame))
    return same_layers(names, frame, heads, dense, tensors, outer, ())


def read_neox(fields: Fields, names: Names) -> Architecture:
    """Read GPT-NeoX and Pythia."""
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"), gated=False)
    at = "gpt_neox.layers.*"
    fused = ("query_key_value", "dense")
    bias = fields.flag("attention_bias", default=True)
    tensors = (
        *fused_attention(f"{at}.attention", frame.hidden, heads, fused, bias=bias),
        *parts.feed_forward(f"{at}.mlp", frame.hidden, dense.width, names=H_TO_4H, bias=True),
        *parts.norms(at, frame.hidden, "input_layernorm", "post_attention_layernorm", bias=True),
    )
    outer = (
        parts.embedding("gpt_neox.embed_in.weight", frame),
        *parts.norm("gpt_neox.final_layer_norm", frame.hidden, bias=True),
        *([] if frame.tied else parts.head("embed_out", frame)),
    )
    rotary = read_rotary(fields.or_else(rotary_pct=0.25), heads.width, frame.context)
    return same_layers(names, frame, heads, dense, tensors, outer, (rotary,))


def read_falcon(fields: Fields, names: Names) -> Architecture:
    """Read Falcon: one KV head in the small ones, groups of heads in the large ones."""
    frame = read_frame(fields.or_else(max_position_embeddings=2048, tie_word_embeddings=True))
    groups = fields.flag("new_decoder_architecture")
    heads = falcon_heads(fields, frame, groups=groups)
    width = fields.integer("ffn_hidden_size", default=4 * frame.hidden)
    dense = DenseFeedForward(width=width, gated=False)
    at, bias, fused = "transformer.h.*", fields.flag("bias"), ("query_key_value", "dense")
    tensors = (
        *fused_attention(f"{at}.self_attention", frame.hidden, heads, fused, bias=bias),
        *parts.feed_forward(f"{at}.mlp", frame.hidden, width, names=H_TO_4H, bias=bias),
        *parts.norms(at, frame.hidden, *falcon_norms(fields, groups=groups), bias=True),
    )
    outer = (
        parts.embedding("transformer.word_embeddings.weight", frame),
        *parts.norm("transformer.ln_f", frame.hidden, bias=True),
        *_head(names, frame),
    )
    turning = () if fields.flag("alibi") else (read_rotary(fields, heads.width, frame.context),)
    return same_layers(names, frame, heads, dense, tensors, outer, turning)


def falcon_heads(fields: Fields, frame: Frame, *, groups: bool) -> Heads:
    """Return Falcon's heads; `num_kv_heads` holds for the grouped ones alone."""
    heads = read_heads(fields, frame.hidden)
    if groups:
        return heads
    alone = fields.flag("multi_query", default=True)
    return msgspec.structs.replace(heads, kv_heads=1 if alone else heads.heads)


def falcon_norms(fields: Fields, *, groups: bool) -> tuple[str, ...]:
    """Return the norms of a layer: two or one where attention and feed-forward run abreast."""
    if not fields.flag("parallel_attn", default=True):
        return "input_layernorm", "post_attention_layernorm"
    count = fields.integer("num_ln_in_parallel_attn", default=2 if groups else 1, most=2)
    return ("input_layernorm",) if count == 1 else ("ln_attn", "ln_mlp")


def read_olmo(fields: Fields, names: Names) -> Architecture:
    """Read OLMo: Llama whose norms have no weights."""
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    bias = fields.flag("attention_bias")
    tensors = (
        *parts.grouped_attention(
            f"{names.layer}.self_attn", frame.hidden, heads, bias=bias, output_bias=bias
        ),
        *parts.feed_forward(f"{names.layer}.mlp", frame.hidden, dense.width),
    )
    outer = (parts.embedding(f"{names.base}embed_tokens.weight", frame), *_head(names, frame))
    rotary = read_rotary(fields, heads.width, frame.context)
    return same_layers(names, frame, heads, dense, tensors, outer, (rotary,))


def fused_attention(
    at: str, hidden: int, heads: Heads, names: tuple[str, str], *, bias: bool
) -> Iterator[Tensor]:
    """Yield attention with one matrix for queries, keys and values."""
    fused, output = names
    rows = (heads.heads + 2 * heads.kv_heads) * heads.width
    yield from parts.linear(f"{at}.{fused}", rows, hidden, "attention", "qkv", bias=bias)
    yield from parts.linear(
        f"{at}.{output}",
        hidden,
        heads.heads * heads.width,
        "attention",
        "attention_output",
        bias=bias,
        bias_shard="replicated",
    )


def _head(names: Names, frame: Frame) -> Iterator[Tensor]:
    if not frame.tied:
        yield from parts.head(names.head, frame)


def same_layers(  # noqa: PLR0917 - the parts of a decoder whose layers are all alike
    names: Names,
    frame: Frame,
    heads: Heads,
    dense: DenseFeedForward,
    tensors: tuple[Tensor, ...],
    outer: Iterable[Tensor],
    rotaries: Sequence[Rotary],
) -> Architecture:
    """Return a decoder whose layers are all alike."""
    layer = Layer(attention=grouped(heads), feed_forward=dense, blocks=(tensors,))
    return assemble(names, frame, ((layer,), (0,) * frame.layers), outer=outer, rotaries=rotaries)


READERS: Mapping[str, Reader] = {
    "falcon": read_falcon,
    "gpt2": read_gpt2,
    "gpt_neox": read_neox,
    "olmo": read_olmo,
}
