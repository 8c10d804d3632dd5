"""DBRX: every layer a mixture, queries, keys and values in one matrix.

Source: transformers, models/dbrx.
"""

from collections.abc import Iterator, Mapping

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
    stack,
)
from rackfit.architecture.mixture import read_mixture
from rackfit.architecture.model import Architecture, ExpertFeedForward, Layer, Tensor
from rackfit.architecture.rotary import read_rotary


def read(fields: Fields, names: Names) -> Architecture:
    """Read DBRX; its attention and its experts have sections of their own."""
    frame = read_frame(fields)
    kv_heads = fields.section("attn_config").integer("kv_n_heads", default=1)
    heads = read_heads(fields.replace(num_key_value_heads=kv_heads), frame.hidden)
    feeding = fields.section("ffn_config").or_else(
        ffn_hidden_size=3584, moe_num_experts=4, moe_top_k=1
    )
    experts = read_mixture(feeding, width=("ffn_hidden_size",), shared_width=0)
    at = "transformer.blocks.*"
    layer = Layer(
        attention=grouped(heads),
        feed_forward=experts,
        blocks=(
            tuple(attention(f"{at}.norm_attn_norm", frame.hidden, heads)),
            tuple(feed_forward(f"{at}.ffn", frame.hidden, experts)),
        ),
    )
    return assemble(
        names,
        frame,
        stack([True] * frame.layers, lambda _: layer),
        outer=outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def attention(at: str, hidden: int, heads: Heads) -> Iterator[Tensor]:
    """Yield attention and the norms on both sides of it."""
    rows = (heads.heads + 2 * heads.kv_heads) * heads.width
    inner = heads.heads * heads.width
    yield from parts.linear(f"{at}.attn.Wqkv", rows, hidden, "attention", "qkv")
    yield from parts.linear(f"{at}.attn.out_proj", hidden, inner, "attention", "attention_output")
    yield from parts.norms(at, hidden, "norm_1", "norm_2")


def feed_forward(at: str, hidden: int, experts: ExpertFeedForward) -> Iterator[Tensor]:
    """Yield router and experts, whose matrices are stacked in three tensors."""
    yield from parts.router(f"{at}.router.layer", experts.experts, hidden)
    for name in ("w1", "v1", "w2"):
        yield Tensor(
            name=f"{at}.experts.mlp.{name}",
            shape=(experts.width, hidden),
            component="routed_experts",
            shard="experts",
            copies=experts.experts,
            linear=True,
        )


def outer(names: Names, frame: Frame) -> Iterator[Tensor]:
    """Yield embedding, final norm and head."""
    yield parts.embedding("transformer.wte.weight", frame)
    yield from parts.norm("transformer.norm_f", frame.hidden)
    yield from parts.head(names.head, frame)


READERS: Mapping[str, Reader] = {"dbrx": read}
