"""gpt-oss: attention sinks, every other layer sliding, stacked experts with biases.

Source: transformers, models/gpt_oss. Checkpoints keep each expert matrix as `<name>_blocks` and
`<name>_scales`; the names here are the ones without the suffix.
"""

from collections.abc import Iterator, Mapping

from rackfit.architecture import parts, windows
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.fields import Fields
from rackfit.architecture.frame import Names, Reader, assemble, read_frame, read_heads, stack
from rackfit.architecture.mixture import read_mixture
from rackfit.architecture.model import Architecture, ExpertFeedForward, Layer, Tensor
from rackfit.architecture.rotary import read_rotary

alternating = windows.listed(full_every=2)


def read(fields: Fields, names: Names) -> Architecture:
    """Read gpt-oss; experts have the width `intermediate_size`."""
    fields = fields.or_else(head_dim=64, num_key_value_heads=8, sliding_window=128)
    frame = read_frame(fields)
    heads = read_heads(fields, frame.hidden)
    experts = read_mixture(fields, width=("intermediate_size",))
    bias = fields.flag("attention_bias", default=True)
    at = f"{names.layer}.self_attn"
    tensors = (
        *parts.grouped_attention(at, frame.hidden, heads, bias=bias, output_bias=bias),
        parts.sinks(f"{at}.sinks", heads.heads),
        *parts.router(f"{names.layer}.mlp.router", experts.experts, frame.hidden, bias=True),
        *biased_experts(f"{names.layer}.mlp", frame.hidden, experts),
        *parts.norms(names.layer, frame.hidden, *BEFORE_EACH),
    )

    def layer(window: int | None) -> Layer:
        return Layer(attention=grouped(heads, window), feed_forward=experts, blocks=(tensors,))

    return assemble(
        names,
        frame,
        stack(alternating(fields, frame.layers), layer),
        outer=parts.outer(names, frame),
        rotaries=(read_rotary(fields, heads.width, frame.context),),
    )


def biased_experts(at: str, hidden: int, experts: ExpertFeedForward) -> Iterator[Tensor]:
    """Yield the stacked experts and their biases."""
    yield from parts.fused_experts(at, hidden, experts.width, experts.experts)
    for name, rows in (("gate_up_proj_bias", 2 * experts.width), ("down_proj_bias", hidden)):
        yield Tensor(
            name=f"{at}.experts.{name}",
            shape=(rows,),
            component="routed_experts",
            shard="experts",
            copies=experts.experts,
        )


READERS: Mapping[str, Reader] = {"gpt_oss": read}
