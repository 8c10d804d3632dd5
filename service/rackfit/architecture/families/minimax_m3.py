"""MiniMax M3: block-sparse attention chosen by index heads, mixtures behind dense layers.

Source: transformers, models/minimax_m3_vl and conversion_mapping (the checkpoint's names). Its
configs count multi-token-prediction modules but do not give their shape, so there is no draft.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import (
    Frame,
    Names,
    Reader,
    assemble,
    read_frame,
    read_heads,
    stack,
)
from rackfit.architecture.mixture import Feeds, Kind, layer_kinds, mixture, read_mixture
from rackfit.architecture.model import Architecture, DenseFeedForward, Indexer, Layer, Tensor
from rackfit.architecture.rotary import read_rotary

LAYER_TYPES = ("full_attention", "minimax_m3_sparse")


def read(fields: Fields, names: Names) -> Architecture:
    """Read the language model; the repository nests the index heads' fields, the library not."""
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    nested = fields.has("sparse_attention_config")
    sparse = fields.section("sparse_attention_config") if nested else fields
    indexer = read_indexer(sparse)
    feeds = feed_forwards(fields, names, frame)
    at = f"{names.layer}.self_attn"
    mixer = (
        *parts.grouped_attention(at, frame.hidden, heads),
        *parts.norms(at, heads.width, "q_norm", "k_norm"),
    )
    indexes = tuple(indexing(at, frame.hidden, indexer))
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[bool, Kind]) -> Layer:
        indexed, kind = key
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=msgspec.structs.replace(grouped(heads), indexer=indexer if indexed else None),
            feed_forward=feed_forward,
            blocks=(mixer, *((indexes,) if indexed else ()), tensors, norms),
        )

    keys = zip(
        sparse_layers(fields, sparse, frame.layers),
        layer_kinds(fields, frame.layers),
        strict=True,
    )
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def sparse_layers(fields: Fields, sparse: Fields, layers: int) -> list[bool]:
    """Say which layers have index heads: none where neither list is given."""
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
        return [t == LAYER_TYPES[1] for t in types]
    if not sparse.has("sparse_attention_freq"):
        return [False] * layers
    return [flag > 0 for flag in sparse.integers("sparse_attention_freq", length=layers)]


def read_indexer(sparse: Fields) -> Indexer:
    """Read the index heads; they choose whole blocks of keys."""
    blocks = sparse.integer("sparse_topk_blocks", "index_topk_blocks", default=16)
    return Indexer(
        heads=sparse.integer("sparse_num_index_heads", "index_n_heads", default=4),
        width=sparse.integer("sparse_index_dim", "index_head_dim", default=128),
        top_k=blocks * sparse.integer("sparse_block_size", "index_block_size", default=128),
    )


def indexing(at: str, hidden: int, indexer: Indexer) -> Iterator[Tensor]:
    """Yield the index heads, whole on every rank."""
    for name, rows in (("q", indexer.heads * indexer.width), ("k", indexer.width)):
        yield from parts.linear(f"{at}.index_{name}_proj", rows, hidden, "attention")
        yield from parts.norm(f"{at}.index_{name}_norm", indexer.width)


def feed_forwards(fields: Fields, names: Names, frame: Frame) -> Feeds:
    """Return the mixtures, with one shared expert of its own width, and the dense layers."""
    shared = fields.integer("shared_intermediate_size", default=3072, least=0)
    experts = read_mixture(fields, width=("intermediate_size",), shared_width=shared)
    dense = DenseFeedForward(width=fields.integer("dense_intermediate_size"))
    sparse = mixture(
        f"{names.layer}.block_sparse_moe",
        frame.hidden,
        experts,
        correction="e_score_correction_bias",
        names=parts.MIXTRAL,
    )
    plain = parts.feed_forward(f"{names.layer}.mlp", frame.hidden, dense.width)
    return {"sparse": (experts, tuple(sparse)), "dense": (dense, tuple(plain))}


READERS: Mapping[str, Reader] = {"minimax_m3": read}
