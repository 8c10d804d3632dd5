"""OPT, BLOOM, MPT, GPT-J and StarCoder: decoders of the years before Llama.

Sources: transformers, models/opt, bloom, mpt, gptj and gpt_bigcode.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.gpt import H_TO_4H, fused_attention, gpt2_like, same_layers
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Frame, Names, Reader, read_frame, read_heads
from rackfit.architecture.model import Architecture, DenseFeedForward, Tensor
from rackfit.architecture.rotary import read_rotary

OFFSET = 2  # OPT's table of positions begins behind two that pad
MPT = "transformer.blocks.*"


def read_opt(fields: Fields, names: Names) -> Architecture:
    """Read OPT: learned positions, norms before or after, in one case a narrower embedding."""
    frame = read_frame(fields.or_else(tie_word_embeddings=True))
    heads, hidden = read_heads(fields, frame.hidden), frame.hidden
    dense = DenseFeedForward(width=fields.integer("ffn_dim"), gated=False)
    bias = fields.flag("enable_bias", default=True)
    at = "model.decoder.layers.*"
    tensors = (
        *parts.grouped_attention(
            f"{at}.self_attn", hidden, heads, bias=bias, output_bias=bias, output="out_proj"
        ),
        *parts.feed_forward(at, hidden, dense.width, names=("fc1", "fc2"), bias=bias),
        *_opt_norms(fields, at, hidden, "self_attn_layer_norm", "final_layer_norm"),
    )
    outer = tuple(opt_outer(fields, names, frame))
    return same_layers(names, frame, heads, dense, tensors, outer, ())


def opt_outer(fields: Fields, names: Names, frame: Frame) -> Iterator[Tensor]:
    """Yield embeddings, the ways into and out of the layers, final norm and head."""
    at = "model.decoder"
    narrow = fields.integer("word_embed_proj_dim", default=frame.hidden)
    inner = msgspec.structs.replace(frame, hidden=narrow)
    yield parts.embedding(f"{at}.embed_tokens.weight", inner)
    yield Tensor(
        name=f"{at}.embed_positions.weight",
        shape=(frame.context + OFFSET, frame.hidden),
        component="embedding",
    )
    if narrow != frame.hidden:
        yield from parts.linear(f"{at}.project_out", narrow, frame.hidden, "other")
        yield from parts.linear(f"{at}.project_in", frame.hidden, narrow, "other")
    before = fields.flag("do_layer_norm_before", default=True)
    if before and not fields.flag("_remove_final_layer_norm"):
        yield from _opt_norms(fields, at, frame.hidden, "final_layer_norm")
    if not frame.tied:
        yield from parts.head(names.head, inner)


def _opt_norms(fields: Fields, at: str, hidden: int, *names: str) -> Iterator[Tensor]:
    if fields.flag("layer_norm_elementwise_affine", default=True):
        yield from parts.norms(at, hidden, *names, bias=True)


def read_bloom(fields: Fields, names: Names) -> Architecture:
    """Read BLOOM: a norm behind the embedding, a bias everywhere, positions by ALiBi."""
    frame = read_frame(fields.or_else(tie_word_embeddings=True, max_position_embeddings=2048))
    heads, hidden = read_heads(fields, frame.hidden), frame.hidden
    dense = DenseFeedForward(width=4 * hidden, gated=False)
    at, fused = "transformer.h.*", ("query_key_value", "dense")
    tensors = (
        *fused_attention(f"{at}.self_attention", hidden, heads, fused, bias=True),
        *parts.feed_forward(f"{at}.mlp", hidden, dense.width, names=H_TO_4H, bias=True),
        *parts.norms(at, hidden, "input_layernorm", "post_attention_layernorm", bias=True),
    )
    outer = (
        parts.embedding("transformer.word_embeddings.weight", frame),
        *parts.norms("transformer", hidden, "word_embeddings_layernorm", "ln_f", bias=True),
        *([] if frame.tied else parts.head(names.head, frame)),
    )
    return same_layers(names, frame, heads, dense, tensors, outer, ())


def read_mpt(fields: Fields, names: Names) -> Architecture:
    """Read MPT: no bias at all, positions by ALiBi."""
    frame = read_frame(fields.or_else(tie_word_embeddings=True))
    heads, hidden = read_heads(fields, frame.hidden), frame.hidden
    ratio = fields.integer("expansion_ratio", default=4, most=1024)
    dense = DenseFeedForward(width=ratio * hidden, gated=False)
    tensors = (
        *fused_attention(f"{MPT}.attn", hidden, heads, ("Wqkv", "out_proj"), bias=False),
        *parts.feed_forward(f"{MPT}.ffn", hidden, dense.width, names=("up_proj", "down_proj")),
        *parts.norms(MPT, hidden, "norm_1", "norm_2"),
    )
    outer = (
        parts.embedding("transformer.wte.weight", frame),
        *parts.norm("transformer.norm_f", hidden),
        *([] if frame.tied else parts.head(names.head, frame)),
    )
    return same_layers(names, frame, heads, dense, tensors, outer, ())


def read_gptj(fields: Fields, names: Names) -> Architecture:
    """Read GPT-J: one norm a layer, biases in the feed-forward and the head alone."""
    frame = read_frame(fields)
    heads, hidden = read_heads(fields, frame.hidden), frame.hidden
    dense = DenseFeedForward(width=fields.integer("n_inner", default=4 * hidden), gated=False)
    at, names_in = "transformer.h.*", ("fc_in", "fc_out")
    tensors = (
        *parts.grouped_attention(f"{at}.attn", hidden, heads, output="out_proj"),
        *parts.feed_forward(f"{at}.mlp", hidden, dense.width, names=names_in, bias=True),
        *parts.norm(f"{at}.ln_1", hidden, bias=True),
    )
    head = parts.head(names.head, frame, bias=True)
    outer = (
        parts.embedding("transformer.wte.weight", frame),
        *parts.norm("transformer.ln_f", hidden, bias=True),
        *(tensor for tensor in head if not (frame.tied and tensor.linear)),
    )
    rotary = read_rotary(fields.or_else(rotary_dim=64), heads.width, frame.context)
    return same_layers(names, frame, heads, dense, tensors, outer, (rotary,))


def read_bigcode(fields: Fields, names: Names) -> Architecture:
    """Read StarCoder: GPT-2 with one KV head."""
    alone = fields.flag("multi_query", default=True)
    return gpt2_like(fields, names, kv_heads=1 if alone else None)


READERS: Mapping[str, Reader] = {
    "bloom": read_bloom,
    "gpt_bigcode": read_bigcode,
    "gptj": read_gptj,
    "mpt": read_mpt,
    "opt": read_opt,
}
