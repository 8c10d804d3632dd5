"""Llama-Nemotron (DeciLM): Llama whose layers a search has thinned out one by one.

Source: the repositories' modeling_decilm.py. Each of `block_configs` says how many query heads
share a KV head, how wide the feed-forward is, or that either is left out or one plain matrix.
"""

from collections.abc import Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import MAX_POSITIONS, MAX_SIDE, Fields
from rackfit.architecture.frame import Frame, Heads, Names, Reader, assemble, read_frame, stack
from rackfit.architecture.model import (
    Architecture,
    Attention,
    DenseFeedForward,
    FeedForward,
    Layer,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

WIDTH_BLOCK = 256  # feed-forwards are rounded up to a multiple of it
MAX_KINDS = 256  # the published models have a few dozen different layers


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One layer after the search: KV heads and width, None where the half is left out.

    `plain` halves are one square matrix.
    """

    kv_heads: int | None
    window: int | None
    width: int | None
    plain_attention: bool
    plain_feed_forward: bool


def read(fields: Fields, names: Names) -> Architecture:
    """Read a thinned Llama."""
    frame = read_frame(fields)
    heads = fields.integer("num_attention_heads")
    width = max(1, frame.hidden // heads)
    blocks = [
        read_block(section, heads, frame)
        for section in fields.sections("block_configs", length=frame.layers)
    ]
    fields.require(
        "block_configs",
        f"There are more than {MAX_KINDS} different layers.",
        holds=len(set(blocks)) <= MAX_KINDS,
    )

    def layer(block: Block) -> Layer:
        attention, mixing = attending(names, frame, block, heads, width)
        feed_forward, feeding = feeding_forward(names, frame, block)
        return Layer(attention=attention, feed_forward=feed_forward, blocks=(mixing, feeding))

    return assemble(
        names,
        frame,
        stack(blocks, layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, width, frame.context),),
    )


def read_block(section: Fields, heads: int, frame: Frame) -> Block:
    """Read one of `block_configs`."""
    attention, feed = section.section("attention"), section.section("ffn")
    plain_attention = attention.flag("replace_with_linear")
    plain_feed = feed.flag("replace_with_linear")
    kv_heads, width = None, None
    if not attention.flag("no_op") and not plain_attention:
        group = attention.integer("n_heads_in_group")
        detail = f"n_heads_in_group = {group} must divide num_attention_heads = {heads}."
        attention.require("n_heads_in_group", detail, holds=heads % group == 0)
        kv_heads = max(1, heads // group)
    if not feed.flag("no_op") and not plain_feed:
        # Two thirds of `ffn_mult` x width, for three matrices stand in the place of two.
        exact = max(1, int(2 * feed.number("ffn_mult", default=1.0) * frame.hidden / 3))
        width = min(MAX_SIDE, -(-exact // WIDTH_BLOCK) * WIDTH_BLOCK)
    return Block(
        kv_heads=kv_heads,
        window=attention.optional("window_length", most=MAX_POSITIONS),
        width=width,
        plain_attention=plain_attention,
        plain_feed_forward=plain_feed,
    )


def attending(
    names: Names, frame: Frame, block: Block, heads: int, width: int
) -> tuple[Attention | None, tuple[Tensor, ...]]:
    """Return a layer's attention, if it has any, and the tensors that stand in its place."""
    at, hidden = f"{names.layer}.self_attn", frame.hidden
    norm = parts.norms(names.layer, hidden, BEFORE_EACH[0])
    if block.kv_heads is not None:
        geometry = Heads(heads=heads, kv_heads=block.kv_heads, width=width)
        tensors = (*parts.grouped_attention(at, hidden, geometry), *norm)
        return grouped(geometry, block.window), tensors
    if block.plain_attention:
        plain = parts.linear(f"{at}.linear_attn", hidden, hidden, "attention", "heads")
        return None, (*plain, *norm)
    return None, ()


def feeding_forward(
    names: Names, frame: Frame, block: Block
) -> tuple[FeedForward | None, tuple[Tensor, ...]]:
    """Return a layer's feed-forward, if it has any, and the tensors that stand in its place."""
    at, hidden = f"{names.layer}.mlp", frame.hidden
    norm = parts.norms(names.layer, hidden, BEFORE_EACH[1])
    if block.width is not None:
        tensors = (*parts.feed_forward(at, hidden, block.width), *norm)
        return DenseFeedForward(width=block.width), tensors
    if block.plain_feed_forward:
        plain = parts.linear(
            f"{at}.linear_mlp", hidden, hidden, "dense_feed_forward", "feed_forward"
        )
        return None, (*plain, *norm)
    return None, ()


READERS: Mapping[str, Reader] = {"deci": read, "nemotron-nas": read}
