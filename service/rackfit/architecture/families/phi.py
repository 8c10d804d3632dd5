"""Phi-1.5, Phi-2 and Phi-3: an ungated parallel layer with biases, and Llama with fused matrices.

Source: transformers, models/phi and models/phi3.
"""

from collections.abc import Iterator, Mapping

from rackfit.architecture import parts, windows
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Heads,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.model import Architecture, DenseFeedForward, Layer, Tensor
from rackfit.architecture.rotary import read_rotary


def read_phi(fields: Fields, names: Names) -> Architecture:
    """Read Phi-1.5 or Phi-2: one LayerNorm a layer, a bias everywhere, the head's included.

    A head tied to the embedding keeps its bias.
    """
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"), gated=False)
    at = f"{names.layer}.self_attn"
    hidden = frame.hidden
    normed = ("q_layernorm", "k_layernorm") if fields.flag("qk_layernorm") else ()
    tensors = (
        *parts.grouped_attention(at, hidden, heads, bias=True, output_bias=True, output="dense"),
        *parts.norms(at, heads.width, *normed, bias=True),
        *parts.feed_forward(
            f"{names.layer}.mlp", hidden, dense.width, names=("fc1", "fc2"), bias=True
        ),
        *parts.norm(f"{names.layer}.input_layernorm", hidden, bias=True),
    )
    layer = Layer(attention=grouped(heads), feed_forward=dense, blocks=(tensors,))
    rotary = read_rotary(fields.or_else(partial_rotary_factor=0.5), heads.width, frame.context)
    return assemble(
        names,
        frame,
        stack([0] * frame.layers, lambda _: layer),
        outer=parts.outer(names, frame, final="final_layernorm", norm_bias=True, head_bias=True),
        rotaries=(rotary,),
    )


def read_phi3(fields: Fields, names: Names) -> Architecture:
    """Read Phi-3: queries, keys and values in one matrix, gate and up in another."""
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    tensors = (
        *fused_attention(f"{names.layer}.self_attn", frame.hidden, heads),
        *parts.fused_feed_forward(f"{names.layer}.mlp", frame.hidden, dense.width),
        *parts.norms(names.layer, frame.hidden, *BEFORE_EACH),
    )

    def layer(window: int | None) -> Layer:
        return Layer(attention=grouped(heads, window), feed_forward=dense, blocks=(tensors,))

    return assemble(
        names,
        frame,
        stack(windows.every_layer(fields, frame.layers), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def fused_attention(at: str, hidden: int, heads: Heads) -> Iterator[Tensor]:
    """Yield attention with one matrix for queries, keys and values."""
    rows = (heads.heads + 2 * heads.kv_heads) * heads.width
    yield from parts.linear(f"{at}.qkv_proj", rows, hidden, "attention", "qkv")
    inner = heads.heads * heads.width
    yield from parts.linear(f"{at}.o_proj", hidden, inner, "attention", "attention_output")


READERS: Mapping[str, Reader] = {"phi": read_phi, "phi3": read_phi3}
