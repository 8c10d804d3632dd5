"""DeepSeek V4: compressed attention, hyper-connections and nothing but mixtures.

Tensor names are those of DeepSeek's own repository. Sources: its inference code; transformers,
models/deepseek_v4 (shapes, and in conversion_mapping which names the repository uses).
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.draft import as_draft
from rackfit.architecture.families.deepseek import read_indexer
from rackfit.architecture.fields import MAX_POSITIONS, Fields
from rackfit.architecture.frame import Frame, Names, Reader, assemble, read_frame, stack
from rackfit.architecture.mixture import mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    CompressedAttention,
    ExpertFeedForward,
    Indexer,
    Layer,
    Rotary,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

INDEXED_RATIO = 4  # layers that compress by 4 overlap their blocks and choose among the rows
RATIOS = {
    "sliding_attention": 0,
    "compressed_sparse_attention": INDEXED_RATIO,
    "heavily_compressed_attention": 128,
}


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """Widths that attention and hyper-connections share among all layers."""

    heads: int
    width: int
    rope: int
    query_rank: int
    output_groups: int
    output_rank: int
    window: int
    streams: int
    indexer: Indexer


def read(fields: Fields, names: Names) -> Architecture:
    """Read a V4 config; the entries of `compress_ratios` behind the layers are the draft's."""
    names = msgspec.structs.replace(names, base="", head="head")
    frame = read_frame(fields)
    geometry = read_geometry(fields)
    experts = read_shared(fields)
    hashed = fields.integer("num_hash_layers", default=0, least=0)
    draft_layers = fields.integer("num_nextn_predict_layers", default=0, least=0, most=64)
    ratios = read_ratios(fields, frame.layers, draft_layers)

    bias = fields.flag("mlp_bias")
    at = f"{names.layer}.attn"
    ffn = f"{names.layer}.ffn"
    feeds = tuple(mixture(ffn, frame.hidden, experts, shared_bias=bias, names=parts.MIXTRAL))
    choosing = {  # the first layers choose their experts by a table of token hashes
        True: (hash_table(names, frame, experts.active),),
        False: (parts.score_correction(f"{ffn}.gate.bias", experts.experts),),
    }
    mixer = tuple(attention(at, frame.hidden, geometry))
    memories = {ratio: remembering(geometry, ratio) for ratio in set(ratios)}
    compressing = {
        ratio: tuple(compression(at, frame.hidden, geometry, ratio)) for ratio in set(ratios)
    }
    rest = (
        *parts.norms(names.layer, frame.hidden, "attn_norm", "ffn_norm"),
        *connections(names.layer, frame.hidden, geometry.streams),
    )

    def layer(key: tuple[int, bool]) -> Layer:
        ratio, by_hash = key
        return Layer(
            attention=memories[ratio],
            feed_forward=experts,
            blocks=(mixer, compressing[ratio], choosing[by_hash], feeds, rest),
        )

    keys = [(ratio, i < hashed) for i, ratio in enumerate(ratios[: frame.layers])]
    drafts = [layer((ratio, False)) for ratio in ratios[frame.layers :]]
    return assemble(
        names,
        frame,
        stack(keys, layer),
        outer=outer(frame, geometry.streams),
        rotaries=rotaries(fields, geometry, frame, ratios),
        draft=draft(names, frame, geometry.streams, drafts),
        draft_layers=draft_layers,
    )


def read_shared(fields: Fields) -> ExpertFeedForward:
    """Read the mixture; the models' own code allows one shared expert, no more and no less."""
    experts = read_mixture(fields.or_else(n_shared_experts=1))
    fields.require(
        "n_shared_experts",
        "DeepSeek V4 has exactly one shared expert.",
        holds=experts.shared_width == experts.width,
    )
    return experts


def read_geometry(fields: Fields) -> Geometry:
    """Read the widths; the heads must divide into the output's groups."""
    heads = fields.integer("num_attention_heads")
    groups = fields.integer("o_groups")
    fields.require(
        "o_groups",
        f"o_groups = {groups} must divide num_attention_heads = {heads}.",
        holds=heads % groups == 0,
    )
    return Geometry(
        heads=heads,
        width=fields.integer("head_dim"),
        rope=fields.integer("qk_rope_head_dim"),
        query_rank=fields.integer("q_lora_rank"),
        output_groups=groups,
        output_rank=fields.integer("o_lora_rank"),
        window=fields.integer("sliding_window", most=MAX_POSITIONS),
        streams=fields.integer("hc_mult", most=1024),
        indexer=read_indexer(fields),
    )


def read_ratios(fields: Fields, layers: int, draft_layers: int) -> list[int]:
    """Return each layer's compression ratio, then each draft layer's (0 where not given)."""
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=tuple(RATIOS))
        rates = fields.section("compress_rates")
        for kind, ratio in RATIOS.items():
            said = rates.integer(kind, default=ratio, least=0)
            rates.require(kind, f"The rate of these layers is {ratio}.", holds=said == ratio)
        ratios = [RATIOS[t] for t in types]
    else:
        ratios = fields.integers("compress_ratios", length=layers, spare=draft_layers)
    unknown = set(ratios).difference(RATIOS.values())
    for i, ratio in enumerate(ratios if unknown else ()):
        holds = ratio not in unknown
        fields.require(f"compress_ratios/{i}", "A ratio is 0, 4 or 128.", holds=holds)
    return ratios + [0] * (layers + draft_layers - len(ratios))


def remembering(geometry: Geometry, ratio: int) -> CompressedAttention:
    """Return the cache geometry of a layer."""
    return CompressedAttention(
        heads=geometry.heads,
        row_width=geometry.width,
        rope_width=geometry.rope,
        ratio=ratio,
        window=geometry.window,
        indexer=geometry.indexer if ratio == INDEXED_RATIO else None,
    )


def attention(at: str, hidden: int, geometry: Geometry) -> Iterator[Tensor]:
    """Yield attention with a low-rank query, one latent KV head and a grouped low-rank output."""
    inner = geometry.heads * geometry.width
    yield from parts.linear(f"{at}.wq_a", geometry.query_rank, hidden, "attention")
    yield from parts.norm(f"{at}.q_norm", geometry.query_rank)
    yield from parts.linear(f"{at}.wq_b", inner, geometry.query_rank, "attention", "heads")
    yield from parts.linear(f"{at}.wkv", geometry.width, hidden, "attention")
    yield from parts.norm(f"{at}.kv_norm", geometry.width)
    rows = geometry.output_groups * geometry.output_rank
    columns = inner // geometry.output_groups
    yield from parts.linear(f"{at}.wo_a", rows, columns, "attention", "heads")
    yield from parts.linear(f"{at}.wo_b", hidden, rows, "attention", "heads")
    yield parts.sinks(f"{at}.attn_sink", geometry.heads, dtype="f32")


def compression(at: str, hidden: int, geometry: Geometry, ratio: int) -> Iterator[Tensor]:
    """Yield what a layer of this ratio has beside its attention (nothing for 0)."""
    if ratio:
        overlap = 2 if ratio == INDEXED_RATIO else 1
        yield from compressor(f"{at}.compressor", hidden, geometry.width, ratio, overlap)
    if ratio == INDEXED_RATIO:
        yield from indexing(f"{at}.indexer", hidden, geometry, ratio)


def compressor(at: str, hidden: int, width: int, ratio: int, overlap: int) -> Iterator[Tensor]:
    """Yield what pools `ratio` tokens into one row; its matrices stay unquantized (V4 report)."""
    for name in ("wkv", "wgate"):
        yield plain(f"{at}.{name}.weight", (overlap * width, hidden))
    yield plain(f"{at}.ape", (ratio, overlap * width), dtype="f32")
    yield from parts.norm(f"{at}.norm", width)


def indexing(at: str, hidden: int, geometry: Geometry, ratio: int) -> Iterator[Tensor]:
    """Yield the indexer, whole on every rank, and its own smaller compressor."""
    indexer = geometry.indexer
    yield from parts.linear(
        f"{at}.wq_b", indexer.heads * indexer.width, geometry.query_rank, "attention"
    )
    yield plain(f"{at}.weights_proj.weight", (indexer.heads, hidden))
    yield from compressor(f"{at}.compressor", hidden, indexer.width, ratio, 2)


def plain(name: str, shape: tuple[int, ...], *, dtype: str | None = None) -> Tensor:
    """Return a tensor of attention that no quantizer converts."""
    return Tensor(name=name, shape=shape, component="attention", dtype=dtype)


def hash_table(names: Names, frame: Frame, active: int) -> Tensor:
    """Return the table by which the first layers choose experts from the token alone."""
    return Tensor(
        name=f"{names.layer}.ffn.gate.tid2eid",
        shape=(frame.vocabulary, active),
        component="router",
        buffer=True,
        dtype="i64",
    )


def connections(at: str, hidden: int, streams: int) -> Iterator[Tensor]:
    """Yield the hyper-connections around attention and mixture (V4 report, 2.2)."""
    rows = (2 + streams) * streams
    for block in ("attn", "ffn"):
        for name, shape in (("fn", (rows, streams * hidden)), ("base", (rows,)), ("scale", (3,))):
            yield other(f"{at}.hc_{block}_{name}", shape)


def head_connections(at: str, hidden: int, streams: int) -> Iterator[Tensor]:
    """Yield the hyper-connection that joins the streams before a head."""
    for name, shape in (("fn", (streams, streams * hidden)), ("base", (streams,)), ("scale", (1,))):
        yield other(f"{at}hc_head_{name}", shape)


def other(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of a hyper-connection."""
    return Tensor(name=name, shape=shape, component="other", dtype="f32")


def outer(frame: Frame, streams: int) -> Iterator[Tensor]:
    """Yield embedding, head, final norm and the joining of the streams."""
    yield parts.embedding("embed.weight", frame)
    yield from parts.norm("norm", frame.hidden)
    yield from head_connections("", frame.hidden, streams)
    if not frame.tied:
        yield from parts.head("head", frame)


def rotaries(
    fields: Fields, geometry: Geometry, frame: Frame, ratios: Sequence[int]
) -> tuple[Rotary, ...]:
    """Return the scaled table of compressed layers and the plain one of purely sliding layers."""
    scaled = read_rotary(fields, geometry.rope, frame.context)
    return (scaled, Rotary(positions=frame.context, width=geometry.rope))[: 2 if 0 in ratios else 1]


def draft(names: Names, frame: Frame, streams: int, layers: Sequence[Layer]) -> Iterator[Tensor]:
    """Yield the draft layers; they share embedding and head with the main model."""
    for i, layer in enumerate(layers):
        at = f"mtp.{i}"
        yield from as_draft(parts.linear(f"{at}.e_proj", frame.hidden, frame.hidden, "other"))
        yield from as_draft(parts.linear(f"{at}.h_proj", frame.hidden, frame.hidden, "other"))
        yield from as_draft(parts.norms(at, frame.hidden, "enorm", "hnorm", "norm"))
        yield from as_draft(head_connections(f"{at}.", frame.hidden, streams))
        yield from as_draft(layer.tensors, names.layer, at)


READERS: Mapping[str, Reader] = {
    "deepseek_v4": read,
    "deepseek_ref": read,  # SGLang's FP8 repositories of the same model
}
