"""Snowflake Arctic: a dense feed-forward as wide as the model beside the experts of a layer.

Sources: vLLM, model_executor/models/arctic.py and transformers_utils/configs/arctic.py; the
model's card (10 B dense beside 128 experts of 3.66 B).
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Names, Reader, assemble, read_frame, read_heads, stack
from rackfit.architecture.mixture import mixture, read_mixture
from rackfit.architecture.model import Architecture, DenseFeedForward, Layer, Tensor
from rackfit.architecture.rotary import read_rotary


def read(fields: Fields, names: Names) -> Architecture:
    """Read Arctic; every `moe_layer_frequency`-th layer is a mixture, the others are dense."""
    fields = fields.or_else(num_local_experts=8, num_experts_per_tok=1)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    experts = read_mixture(fields, width=("intermediate_size",), shared_width=0)
    abreast = fields.flag("parallel_attn_mlp_res"), fields.flag("use_residual")
    residual = any(abreast)  # the repository's own code asks for the one, vLLM for the other
    at = f"{names.layer}.block_sparse_moe"
    mixed = msgspec.structs.replace(experts, dense_width=frame.hidden if residual else 0)
    dense = DenseFeedForward(width=experts.width)
    feeds = {
        True: (
            *mixture(at, frame.hidden, experts, names=parts.MIXTRAL),
            *(beside_experts(names, frame.hidden) if residual else ()),
        ),
        False: tuple(
            parts.feed_forward(f"{at}.mlp", frame.hidden, dense.width, names=parts.MIXTRAL)
        ),
    }
    mixer = (
        *parts.grouped_attention(f"{names.layer}.self_attn", frame.hidden, heads),
        *parts.norms(names.layer, frame.hidden, *BEFORE_EACH),
    )

    def layer(mixes: bool) -> Layer:  # noqa: FBT001 - a key
        return Layer(
            attention=grouped(heads),
            feed_forward=mixed if mixes else dense,
            blocks=(mixer, feeds[mixes]),
        )

    every = fields.integer("moe_layer_frequency", default=2)
    return assemble(
        names,
        frame,
        stack([(i + 1) % every == 0 for i in range(frame.layers)], layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def beside_experts(names: Names, hidden: int) -> Iterator[Tensor]:
    """Yield the feed-forward that every token passes beside its experts, and its norm."""
    at = f"{names.layer}.residual_mlp"
    yield from parts.feed_forward(at, hidden, hidden, names=parts.MIXTRAL)
    yield from parts.norm(f"{names.layer}.residual_layernorm", hidden)


READERS: Mapping[str, Reader] = {"arctic": read}
