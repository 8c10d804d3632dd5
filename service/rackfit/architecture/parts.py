"""The building blocks of transformers: each function yields the tensors of one block.

`at` is where the block's names begin in the checkpoint. Shapes are output dimension first.
The bias of a matrix whose input is divided (the last of a block) is added once, so it is whole
on every rank.
"""

from collections.abc import Iterator, Sequence

import msgspec

from rackfit.architecture.frame import Frame, Heads, Names
from rackfit.architecture.model import Component, Shard, Tensor

GATED = ("gate_proj", "up_proj", "down_proj")
MIXTRAL = ("w1", "w3", "w2")
QKV, DOWN, UP = "qkv", "latent_down", "gate_up"
"""Names of what engines keep as one matrix: queries, keys and values; what leads into a latent
row; what leads into a feed-forward."""


class Latent(msgspec.Struct, frozen=True, kw_only=True):
    """Multi-head latent attention's geometry; `query_rank` None projects queries directly."""

    heads: int
    query_rank: int | None
    rank: int
    nope: int
    rope: int
    value: int


def linear(  # noqa: PLR0913 (a matrix has that many traits; all but its name and sides by keyword)
    name: str,
    rows: int,
    columns: int,
    component: Component,
    shard: Shard = "replicated",
    *,
    bias: bool = False,
    bias_shard: Shard | None = None,
    copies: int = 1,
    fused: str = "",
) -> Iterator[Tensor]:
    """Yield a Linear module's matrix and bias; the bias is divided as the matrix by default."""
    yield Tensor(
        name=f"{name}.weight",
        shape=(rows, columns),
        component=component,
        shard=shard,
        copies=copies,
        linear=True,
        fused=fused,
    )
    if bias:
        yield Tensor(
            name=f"{name}.bias",
            shape=(rows,),
            component=component,
            shard=shard if bias_shard is None else bias_shard,
            copies=copies,
        )


def norm(name: str, width: int, *, bias: bool = False) -> Iterator[Tensor]:
    """Yield a norm's weight (and bias)."""
    yield Tensor(name=f"{name}.weight", shape=(width,), component="norm")
    if bias:
        yield Tensor(name=f"{name}.bias", shape=(width,), component="norm")


def norms(at: str, width: int, *names: str, bias: bool = False) -> Iterator[Tensor]:
    """Yield several norms of one width."""
    for name in names:
        yield from norm(f"{at}.{name}", width, bias=bias)


def outer(
    names: Names,
    frame: Frame,
    *,
    final: str = "norm",
    norm_bias: bool = False,
    head_bias: bool = False,
) -> Iterator[Tensor]:
    """Yield embedding, final norm and, unless tied, the head, named as Llama names them.

    A bias of the head is never tied.
    """
    yield embedding(f"{names.base}embed_tokens.weight", frame)
    yield from norm(f"{names.base}{final}", frame.hidden, bias=norm_bias)
    made = head(names.head, frame, bias=head_bias)
    yield from (tensor for tensor in made if not (frame.tied and tensor.linear))


def embedding(name: str, frame: Frame) -> Tensor:
    """Return the token embedding."""
    return Tensor(
        name=name,
        shape=(frame.vocabulary, frame.hidden),
        component="embedding",
        shard="vocabulary",
    )


def head(name: str, frame: Frame, *, bias: bool = False) -> Iterator[Tensor]:
    """Yield the language model's head."""
    yield from linear(name, frame.vocabulary, frame.hidden, "head", "vocabulary", bias=bias)


def grouped_attention(
    at: str,
    hidden: int,
    heads: Heads,
    *,
    bias: bool = False,
    output_bias: bool = False,
    output: str = "o_proj",
    value_width: int | None = None,
    gated_queries: bool = False,
) -> Iterator[Tensor]:
    """Yield query, key, value and output projections of grouped attention.

    `gated_queries` doubles the query projection: half of it gates the output (Qwen3-Next).
    """
    value = heads.width if value_width is None else value_width
    query = heads.heads * heads.width * (2 if gated_queries else 1)
    yield from linear(f"{at}.q_proj", query, hidden, "attention", "heads", bias=bias, fused=QKV)
    key_rows = heads.kv_heads * heads.width
    yield from linear(
        f"{at}.k_proj", key_rows, hidden, "attention", "kv_heads", bias=bias, fused=QKV
    )
    value_rows = heads.kv_heads * value
    yield from linear(
        f"{at}.v_proj", value_rows, hidden, "attention", "kv_heads", bias=bias, fused=QKV
    )
    yield from linear(
        f"{at}.{output}",
        hidden,
        heads.heads * value,
        "attention",
        "attention_output",
        bias=output_bias,
        bias_shard="replicated",
    )


def sinks(name: str, heads: int, *, dtype: str | None = None) -> Tensor:
    """Return the learned logits that let each head attend to nothing (gpt-oss)."""
    return Tensor(name=name, shape=(heads,), component="attention", shard="heads", dtype=dtype)


def latent_attention(
    at: str, hidden: int, latent: Latent, *, bias: bool = False
) -> Iterator[Tensor]:
    """Yield multi-head latent attention's tensors as DeepSeek-V2 names them.

    Down-projections are whole on every rank; up-projections and the output go by heads.
    """
    query = latent.heads * (latent.nope + latent.rope)
    if latent.query_rank is None:
        yield from linear(f"{at}.q_proj", query, hidden, "attention", "heads")
    else:
        yield from linear(
            f"{at}.q_a_proj", latent.query_rank, hidden, "attention", bias=bias, fused=DOWN
        )
        yield from norm(f"{at}.q_a_layernorm", latent.query_rank)
        yield from linear(f"{at}.q_b_proj", query, latent.query_rank, "attention", "heads")
    row = latent.rank + latent.rope
    yield from linear(f"{at}.kv_a_proj_with_mqa", row, hidden, "attention", bias=bias, fused=DOWN)
    yield from norm(f"{at}.kv_a_layernorm", latent.rank)
    up = latent.heads * (latent.nope + latent.value)
    yield from linear(f"{at}.kv_b_proj", up, latent.rank, "attention", "heads")
    yield from linear(
        f"{at}.o_proj",
        hidden,
        latent.heads * latent.value,
        "attention",
        "attention_output",
        bias=bias,
        bias_shard="replicated",
    )


def feed_forward(
    at: str,
    hidden: int,
    width: int,
    component: Component = "dense_feed_forward",
    shard: Shard = "feed_forward",
    *,
    names: Sequence[str] = GATED,
    bias: bool = False,
    copies: int = 1,
) -> Iterator[Tensor]:
    """Yield a feed-forward: matrices into `width`, the last of `names` back out of it."""
    for name in names[:-1]:
        yield from linear(
            f"{at}.{name}", width, hidden, component, shard, bias=bias, copies=copies, fused=UP
        )
    yield from linear(
        f"{at}.{names[-1]}",
        hidden,
        width,
        component,
        shard,
        bias=bias,
        bias_shard="replicated" if copies == 1 else shard,  # an expert is where its tensors are
        copies=copies,
    )


def fused_feed_forward(at: str, hidden: int, width: int) -> Iterator[Tensor]:
    """Yield a gated feed-forward with one matrix for gate and up."""
    for name, rows, columns in (("gate_up_proj", 2 * width, hidden), ("down_proj", hidden, width)):
        yield from linear(f"{at}.{name}", rows, columns, "dense_feed_forward", "feed_forward")


def routed_experts(
    at: str, hidden: int, width: int, experts: int, *, names: Sequence[str] = GATED
) -> Iterator[Tensor]:
    """Yield the routed experts as checkpoints keep them apart."""
    yield from feed_forward(
        f"{at}.experts.*", hidden, width, "routed_experts", "experts", names=names, copies=experts
    )


def fused_experts(at: str, hidden: int, width: int, experts: int) -> Iterator[Tensor]:
    """Yield the routed experts of checkpoints that stack them: gate and up in one tensor."""
    for name, shape in (("gate_up_proj", (2 * width, hidden)), ("down_proj", (hidden, width))):
        yield Tensor(
            name=f"{at}.experts.{name}",
            shape=shape,
            component="routed_experts",
            shard="experts",
            copies=experts,
            linear=True,
        )


def shared_experts(
    at: str, hidden: int, width: int, *, names: Sequence[str] = GATED, bias: bool = False
) -> Iterator[Tensor]:
    """Yield the shared experts, kept as one feed-forward of their joint width; 0 is none."""
    if width:
        yield from feed_forward(
            at, hidden, width, "shared_experts", "shared_experts", names=names, bias=bias
        )


def router(
    name: str, experts: int, hidden: int, *, bias: bool = False, correction: str | None = None
) -> Iterator[Tensor]:
    """Yield the router; `correction` names its load-balancing bias, which is not trained."""
    yield from linear(name, experts, hidden, "router", bias=bias)
    if correction is not None:
        yield score_correction(correction, experts)


def score_correction(name: str, experts: int) -> Tensor:
    """Return a router's load-balancing bias, which is stored and not trained."""
    return Tensor(name=name, shape=(experts,), component="router", buffer=True, dtype="f32")
