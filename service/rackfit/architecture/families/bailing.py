"""Ling and Ring (Bailing): queries, keys and values in one matrix over DeepSeek-V3's mixtures.

Sources: the checkpoints' own modeling_bailing_moe.py and modeling_bailing_moe_v2.py; vLLM,
bailing_moe.py.
"""

from collections.abc import Iterator, Mapping

from rackfit.architecture import parts
from rackfit.architecture.draft import appended_layers
from rackfit.architecture.families.deepseek import feed_forwards
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
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
from rackfit.architecture.mixture import Kind, layer_kinds
from rackfit.architecture.model import Architecture, Layer, Tensor
from rackfit.architecture.rotary import read_rotary

CORRECTION = "gate.expert_bias"


def read(fields: Fields, names: Names) -> Architecture:
    """Read the first generation or the second, which may norm its heads and bias its router."""
    fields = fields.or_else(num_shared_experts=0)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    correction = CORRECTION if fields.flag("moe_router_enable_expert_bias") else None
    feeds = feed_forwards(fields, names, frame, correction=correction)
    mixer = tuple(attention(fields, f"{names.layer}.attention", frame.hidden, heads))
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(kind: Kind) -> Layer:
        geometry, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads),
            feed_forward=geometry,
            blocks=(mixer, tensors, norms),
        )

    draft_layers = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    return assemble(
        names,
        frame,
        stack(layer_kinds(fields, frame.layers), layer),
        outer=outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
        draft=appended_layers(names, frame, layer("sparse"), draft_layers),
        draft_layers=draft_layers,
    )


def attention(fields: Fields, at: str, hidden: int, heads: Heads) -> Iterator[Tensor]:
    """Yield the attention; its ways in and out are biased by two switches."""
    rows = (heads.heads + 2 * heads.kv_heads) * heads.width
    bias, output_bias = fields.flag("use_qkv_bias"), fields.flag("use_bias")
    yield from parts.linear(f"{at}.query_key_value", rows, hidden, "attention", "qkv", bias=bias)
    yield from parts.linear(
        f"{at}.dense",
        hidden,
        heads.heads * heads.width,
        "attention",
        "attention_output",
        bias=output_bias,
        bias_shard="replicated",
    )
    if fields.flag("use_qk_norm"):
        yield from parts.norms(at, heads.width, "query_layernorm", "key_layernorm")


def outer(names: Names, frame: Frame) -> Iterator[Tensor]:
    """Yield embedding, final norm and, unless tied, the head."""
    yield parts.embedding(f"{names.base}word_embeddings.weight", frame)
    yield from parts.norm(f"{names.base}norm", frame.hidden)
    if not frame.tied:
        yield from parts.head(names.head, frame)


READERS: Mapping[str, Reader] = {
    "bailing_moe": read,
    "bailing_moe_v2": read,
}
