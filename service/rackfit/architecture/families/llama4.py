"""Llama 4: chunked attention in three layers of four, a mixture in every n-th layer.

Source: transformers, models/llama4. Queries and keys are normalised without weights.
"""

from collections.abc import Iterator, Mapping

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import MAX_POSITIONS, Fields
from rackfit.architecture.frame import Names, Reader, assemble, read_frame, read_heads, stack
from rackfit.architecture.mixture import Feeds, Kind, mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    Layer,
    Tensor,
)
from rackfit.architecture.rotary import read_rotary

LAYER_TYPES = ("full_attention", "chunked_attention")


def read(fields: Fields, names: Names) -> Architecture:
    """Read the language model; one shared expert has the routed experts' width."""
    fields = fields.or_else(num_key_value_heads=8)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    width = fields.integer("intermediate_size")
    experts = read_mixture(fields, width=("intermediate_size",), shared_width=width)
    dense = DenseFeedForward(width=fields.integer("intermediate_size_mlp"))
    bias = fields.flag("attention_bias")
    at = f"{names.layer}.feed_forward"

    feeds: Feeds = {
        "dense": (dense, tuple(parts.feed_forward(at, frame.hidden, dense.width))),
        "sparse": (experts, tuple(stacked_mixture(at, frame.hidden, experts))),
    }
    mixer = tuple(
        parts.grouped_attention(
            f"{names.layer}.self_attn", frame.hidden, heads, bias=bias, output_bias=bias
        )
    )
    norms = tuple(parts.norms(names.layer, frame.hidden, *BEFORE_EACH))

    def layer(key: tuple[int | None, Kind]) -> Layer:
        window, kind = key
        feed_forward, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads, window),
            feed_forward=feed_forward,
            blocks=(mixer, tensors, norms),
        )

    keys = zip(chunks(fields, frame.layers), kinds(fields, frame.layers), strict=True)
    return assemble(
        names,
        frame,
        stack(tuple(keys), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def stacked_mixture(at: str, hidden: int, experts: ExpertFeedForward) -> Iterator[Tensor]:
    """Yield router, stacked experts and the one shared expert."""
    yield from mixture(at, hidden, experts, gate="router", shared="shared_expert", stacked=True)


def chunks(fields: Fields, layers: int) -> list[int | None]:
    """Return the chunk that each layer attends within; layers without RoPE see everything."""
    size = fields.integer("attention_chunk_size", default=8192, most=MAX_POSITIONS)
    if fields.has("layer_types"):
        types = fields.words("layer_types", length=layers, known=LAYER_TYPES)
        return [size if t == "chunked_attention" else None for t in types]
    if fields.holds_list("no_rope_layers") and fields.integers("no_rope_layers"):
        return [size if rope else None for rope in fields.integers("no_rope_layers", length=layers)]
    interval = fields.integer("no_rope_layer_interval", default=4)
    return [size if (i + 1) % interval else None for i in range(layers)]


def kinds(fields: Fields, layers: int) -> list[Kind]:
    """Return which layers are mixtures: those of `moe_layers`, or every n-th."""
    if fields.has("moe_layers"):
        chosen = set(fields.integers("moe_layers"))
        return ["sparse" if i in chosen else "dense" for i in range(layers)]
    step = fields.integer("interleave_moe_layer_step", default=1)
    return ["dense" if (i + 1) % step else "sparse" for i in range(layers)]


READERS: Mapping[str, Reader] = {"llama4_text": read}
