"""DeepSeek V2, V3 and V3.2, and those built like them: Kimi K2, GLM-5, Sarvam.

Latent attention, some with an indexer that makes it sparse, over dense layers first and
mixtures after. Sources: transformers, models/deepseek_v2, deepseek_v3, deepseek_v32,
glm_moe_dsa and sarvam_mla; DeepSeek-V3's paper for the multi-token-prediction layer.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import appended_layers
from rackfit.architecture.families.llama import BEFORE_EACH
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Frame, Names, Reader, assemble, read_frame, stack
from rackfit.architecture.mixture import Feeds, Kind, layer_kinds, mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    Indexer,
    LatentAttention,
    Layer,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

CORRECTION = "gate.e_score_correction_bias"


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """What sets a family apart: a load-balancing bias, biases, an indexer, and defaults."""

    correction: str | None = CORRECTION
    feed_bias: bool = False
    indexed: bool = False
    first_dense: int = 0
    query_rank: int = 1536
    shared: int = 1


def read(variant: Variant, fields: Fields, names: Names) -> Architecture:
    """Read a decoder of latent attention, its mixtures and its draft layers."""
    fields = fields.or_else(n_shared_experts=variant.shared)
    frame = read_frame(fields)
    latent = read_latent(fields, variant.query_rank)
    indexer = read_indexer(fields) if variant.indexed else None
    bias = variant.feed_bias and fields.flag("mlp_bias")
    feeds = feed_forwards(fields, names, frame, correction=variant.correction, bias=bias)

    at = f"{names.layer}.self_attn"
    mixer = tuple(
        parts.latent_attention(at, frame.hidden, latent, bias=fields.flag("attention_bias"))
    )
    indexes = tuple(indexing(f"{at}.indexer", frame, latent, indexer))
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[Kind, bool]) -> Layer:
        kind, own_indexer = key
        geometry, tensors = feeds[kind]
        return Layer(
            attention=remembering(latent, indexer, own=own_indexer),
            feed_forward=geometry,
            blocks=(mixer, *((indexes,) if own_indexer else ()), tensors, norms),
        )

    keys = zip(
        layer_kinds(fields, frame.layers, first_dense=variant.first_dense),
        indexed_layers(variant, fields, frame.layers),
        strict=True,
    )
    draft_layers = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, latent.rope, frame.context),),
        # An appended layer is a mixture and chooses its own rows, whatever the last layer does.
        draft=appended_layers(names, frame, layer(("sparse", variant.indexed)), draft_layers),
        draft_layers=draft_layers,
    )


def read_latent(fields: Fields, query_rank: int | None = None) -> parts.Latent:
    """Read latent attention's ranks and widths; null means that queries have no rank.

    All heads share the one latent row, whatever `num_key_value_heads` says.
    """
    fields.moot("num_key_value_heads", "head_dim", "qk_head_dim")
    return parts.Latent(
        heads=fields.integer("num_attention_heads"),
        query_rank=(
            fields.optional("q_lora_rank")
            if query_rank is None
            else fields.nullable("q_lora_rank", default=query_rank)
        ),
        rank=fields.integer("kv_lora_rank"),
        nope=fields.integer("qk_nope_head_dim"),
        rope=fields.integer("qk_rope_head_dim"),
        value=fields.integer("v_head_dim"),
    )


def read_indexer(fields: Fields) -> Indexer:
    """Read the indexer of sparse attention."""
    return Indexer(
        heads=fields.integer("index_n_heads"),
        width=fields.integer("index_head_dim"),
        top_k=fields.integer("index_topk"),
        pool=fields.integer("index_kpool", default=1),
    )


def indexed_layers(variant: Variant, fields: Fields, layers: int) -> list[bool]:
    """Say which layers have an indexer of their own; GLM-5.2 shares one among several layers.

    Where no list says it, every `index_topk_freq`-th layer has one, counted from
    `index_skip_topk_offset` less one, and so has every layer before.
    """
    if not variant.indexed:
        return [False] * layers
    if fields.has("indexer_types"):
        fields.moot("index_topk_freq", "index_skip_topk_offset", "layer_types")
        types = fields.words("indexer_types", length=layers, known=("full", "shared"))
        return [t == "full" for t in types]
    every = fields.integer("index_topk_freq", default=1)
    first = fields.integer("index_skip_topk_offset", default=2, least=0) - 1
    return [max(i - first, 0) % every == 0 for i in range(layers)]


def remembering(latent: parts.Latent, indexer: Indexer | None, *, own: bool) -> LatentAttention:
    """Return the cache geometry: a latent row a token, and the indexer's key where it has one."""
    return LatentAttention(
        heads=latent.heads,
        latent_width=latent.rank,
        rope_width=latent.rope,
        nope_width=latent.nope,
        value_width=latent.value,
        indexer=indexer if own else None,
        top_k=None if indexer is None else indexer.top_k,
    )


def indexing(
    at: str, frame: Frame, latent: parts.Latent, indexer: Indexer | None
) -> Iterator[Tensor]:
    """Yield an indexer; it is whole on every rank."""
    if indexer is None:
        return
    rank = frame.hidden if latent.query_rank is None else latent.query_rank
    yield from parts.linear(f"{at}.wq_b", indexer.heads * indexer.width, rank, "attention")
    yield from parts.linear(f"{at}.wk", indexer.width, frame.hidden, "attention")
    yield from parts.norm(f"{at}.k_norm", indexer.width, bias=True)
    # No published checkpoint converts weights_proj: it is no candidate for quantization.
    yield Tensor(
        name=f"{at}.weights_proj.weight",
        shape=(indexer.heads, frame.hidden),
        component="attention",
    )
    if indexer.pool > 1:
        yield from _pooling(at, frame, indexer)


def _pooling(at: str, frame: Frame, indexer: Indexer) -> Iterator[Tensor]:
    """Yield what pools keys (SGLang, layers/attention/dsa/dsa_indexer_kpool.py)."""
    shapes = {"ape": (indexer.pool, indexer.width), "gate": (indexer.width, frame.hidden)}
    for name, shape in shapes.items():
        yield Tensor(
            name=f"{at}.index_kpool_compress_{name}",
            shape=shape,
            component="attention",
            dtype="f32" if name == "ape" else None,
        )


def feed_forwards(
    fields: Fields, names: Names, frame: Frame, *, correction: str | None, bias: bool = False
) -> Feeds:
    """Return geometry and tensors of the mixtures and of the dense layers."""
    at = f"{names.layer}.mlp"
    experts = read_mixture(fields)
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    sparse = mixture(at, frame.hidden, experts, correction=correction, shared_bias=bias)
    plain = parts.feed_forward(at, frame.hidden, dense.width, bias=bias)
    return {"sparse": (experts, tuple(sparse)), "dense": (dense, tuple(plain))}


V3 = Variant(first_dense=3)
READERS: Mapping[str, Reader] = {
    "deepseek_v2": partial(read, Variant(correction=None, feed_bias=True, shared=2)),
    "deepseek_v3": partial(read, V3),
    "kimi_k2": partial(read, V3),
    "deepseek_v32": partial(read, Variant(indexed=True, first_dense=3)),
    "glm4_moe_lite": partial(read, Variant(first_dense=1, query_rank=768)),
    "mistral4": partial(read, Variant(correction=None, query_rank=1024)),
    "sarvam_mla": partial(read, Variant(first_dense=1)),
    "glm_moe_dsa": partial(read, Variant(indexed=True, first_dense=3, query_rank=2048)),
}
