"""What a model is: its tensors, its layers and how each layer remembers.

A reader (one per foreign format and family) produces an `Architecture`; nothing after the
reader asks which family it was. Sizes of layers are plain geometry; bytes are counted later,
from the tensors and the scheme each is stored in.
"""

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Literal, TypeVar

import msgspec

from rackfit.lazy import cached_property

Component = Literal[
    "embedding",
    "head",
    "attention",
    "dense_feed_forward",
    "routed_experts",
    "shared_experts",
    "router",
    "norm",
    "vision",
    "other",
    "draft",
]
"""The parts `parameters` is reported in; all but `draft` are disjoint and sum to the total."""

Shard = Literal[
    "replicated",  # whole on every rank: norms, routers, latent down-projections
    "heads",  # divided with the query heads (or the heads of linear attention and Mamba)
    "attention_output",  # leads out of attention: divided with its heads, or further
    "kv_heads",  # divided with the KV heads, replicated once TP exceeds them
    "qkv",  # one fused tensor of query, key and value heads
    "feed_forward",  # divided over the width of a dense feed-forward
    "vocabulary",  # divided over the padded vocabulary: embedding and head
    "experts",  # spread over expert-parallel ranks, each expert over expert-tensor ranks
    "shared_experts",  # divided over tensor ranks, or whole, as the engine does
    "vision",  # the vision tower: the engine decides
]
"""Which degree of parallelism divides a tensor; engines turn it into a divisor."""


class Tensor(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One weight as the checkpoint names it, `*` standing for a layer's or expert's number.

    `shape` is that of one tensor (output dimension first); `copies` counts how often it
    stands in one layer (once per expert, say). `linear` marks the matrices quantizers
    convert. A `buffer` is stored but not trained: it costs bytes and is no parameter.
    `dtype` overrides the checkpoint's own 16-bit type (`"f32"` for a router bias). Engines keep
    tensors of one layer, component and `fused` name as one.
    """

    name: str
    shape: tuple[int, ...]
    component: Component
    shard: Shard = "replicated"
    copies: int = 1
    linear: bool = False
    buffer: bool = False
    dtype: str | None = None
    fused: str = ""

    @property
    def elements(self) -> int:
        """Elements of all copies in one layer."""
        return self.copies * prod(self.shape)


class Indexer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The lightweight scorer of sparse attention: one key of `width` elements a cached row.

    Or one for `pool` of them, put together by a gate.
    """

    heads: int
    width: int
    top_k: int
    pool: int = 1


class GroupedAttention(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="grouped"):
    """Softmax attention with grouped KV heads (multi-head and multi-query are its ends).

    `window` is the number of past tokens a sliding or chunked layer can see, None for all.
    Keys and values are cached apart, `key_width` and `value_width` elements a KV head.
    `shares_cache` layers read an earlier layer's cache and keep none of their own. An `indexer`
    chooses the rows that sparse layers read (MiniMax M3) and keeps a key a token, whole on
    every rank.
    """

    heads: int
    kv_heads: int
    key_width: int
    value_width: int
    window: int | None = None
    shares_cache: bool = False
    indexer: Indexer | None = None


class LatentAttention(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="latent"):
    """Multi-head latent attention (DeepSeek-V2): one latent row a token, shared by all heads.

    `top_k` rows are read where attention is sparse (None: all). A sparse layer without an
    `indexer` reads the rows that the nearest indexer before it chose, and keeps no keys for it.
    """

    heads: int
    latent_width: int
    rope_width: int
    nope_width: int
    value_width: int
    indexer: Indexer | None = None
    top_k: int | None = None


class CompressedAttention(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="compressed"):
    """DeepSeek-V4: one row a `ratio` tokens beside a sliding window of whole tokens.

    `ratio` 0 keeps the window alone. `indexer` is None where every compressed row is read.
    `row_width` is the width of one cached row (of which `rope_width` is rotary).
    """

    heads: int
    row_width: int
    rope_width: int
    ratio: int
    window: int
    indexer: Indexer | None = None


class RecurrentAttention(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="recurrent"):
    """Linear attention, gated delta net, KDA and Mamba: a state per sequence, none per token.

    `convolution_elements` are kept in the model's type, `state_elements` in `state_dtype`;
    both are divided over `heads`.
    """

    heads: int
    convolution_elements: int
    state_elements: int
    state_dtype: str = "f32"


Attention = GroupedAttention | LatentAttention | CompressedAttention | RecurrentAttention


class DenseFeedForward(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="dense"):
    """A feed-forward every token passes; `gated` ones hold three matrices, others two.

    A `width` that is not `exact` was derived from a card's totals: no rule can rest on it.
    """

    width: int
    gated: bool = True
    exact: bool = True


class ExpertFeedForward(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="experts"):
    """A mixture of `experts`, `active` of them a token.

    Beside them `shared_width` is the width of all shared experts together and `dense_width`
    that of a dense feed-forward (0: none).
    """

    experts: int
    active: int
    width: int
    gated: bool = True
    shared_width: int = 0
    dense_width: int = 0
    exact: bool = True


FeedForward = DenseFeedForward | ExpertFeedForward


Block = tuple[Tensor, ...]
"""Tensors that stand together; kinds of layers that have the same share one object."""


class Layer(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One kind of layer: geometry for caches and speed, tensors for weights.

    `attention` or `feed_forward` is None where the layer has none (Nemotron-H's single-mixer
    layers). `blocks` are the tensors of one such layer; what engines keep as one is in one block.
    """

    attention: Attention | None
    feed_forward: FeedForward | None
    blocks: tuple[Block, ...]

    @cached_property
    def tensors(self) -> Block:
        """All tensors of one such layer."""
        return tuple(chain.from_iterable(self.blocks))


Held = TypeVar("Held")


def counted_blocks(
    layers: Sequence[int], kinds: Sequence[Sequence[Held]]
) -> tuple[tuple[int, Held], ...]:
    """Return each block once, by identity, with the layers of all the kinds that have it."""
    counts: dict[int, int] = {}
    for count, blocks in zip(layers, kinds, strict=True):
        for at in map(id, blocks):
            counts[at] = counts.get(at, 0) + count
    found = {id(block): block for blocks in kinds for block in blocks}
    return tuple([(counts[at], block) for at, block in found.items()])


class Rotary(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One distinct rotary-position table an engine precomputes: `positions` x `width`."""

    positions: int
    width: int


class Vision(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A vision tower as engines weigh it, by `num_hidden_layers` and `hidden_size` of its section.

    None where the section calls them otherwise (`depth`), whatever the tower has.
    """

    layers: int | None
    width: int | None


class Architecture(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A model after its reader: everything later stages need and nothing of its family.

    `kinds` holds each distinct layer once; `order[i]` is the index in `kinds` of layer i.
    `outer` are the tensors outside the layers: embedding, head, final norm, vision tower and
    projector; `draft` those of multi-token-prediction layers (all of component "draft").
    `dtype` is the checkpoint's plain type (`"bf16"`). `context_tokens` is the published limit.
    `name` is the architecture's own name (`DeepseekV4ForCausalLM`).
    """

    name: str
    hidden_size: int
    vocabulary_size: int
    context_tokens: int
    kinds: tuple[Layer, ...]
    order: tuple[int, ...]
    outer: tuple[Tensor, ...]
    draft: tuple[Tensor, ...] = ()
    draft_layers: int = 0
    tied_head: bool = False
    dtype: str = "bf16"
    rotaries: tuple[Rotary, ...] = ()
    vision: Vision | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer from first to last."""
        return tuple(self.kinds[k] for k in self.order)

    @cached_property
    def kind_counts(self) -> tuple[int, ...]:
        """How many layers there are of each kind, in the order of `kinds`."""
        return tuple(map(self.order.count, range(len(self.kinds))))

    @cached_property
    def blocks(self) -> tuple[tuple[int, Block], ...]:
        """Each block once, with the number of layers it stands in."""
        return counted_blocks(self.kind_counts, [kind.blocks for kind in self.kinds])

    @cached_property
    def experts(self) -> ExpertFeedForward | None:
        """The mixture of the expert layers (None for a dense model)."""
        for kind in self.kinds:
            if isinstance(kind.feed_forward, ExpertFeedForward):
                return kind.feed_forward
        return None
