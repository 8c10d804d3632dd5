"""Jamba: Mamba beside attention, mixtures of experts in every other layer.

Source: transformers, models/jamba.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.hybrid import NORMS
from rackfit.architecture.families.llama import grouped
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
from rackfit.architecture.mixture import Feeds, Kind, mixture, read_mixture
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    Layer,
    RecurrentAttention,
    Tensor,
)


class Mixer(msgspec.Struct, frozen=True, kw_only=True):
    """A mixer of the first Mamba: `inner` channels, each with a state of its own."""

    inner: int
    state: int
    kernel: int
    rank: int
    bias: bool
    convolution_bias: bool

    def remembering(self) -> RecurrentAttention:
        """Return the state of a sequence; every channel is a head (vLLM, mamba_utils.py)."""
        return RecurrentAttention(
            heads=self.inner,
            convolution_elements=self.inner * (self.kernel - 1),
            state_elements=self.inner * self.state,
        )

    def tensors(self, at: str, hidden: int) -> Iterator[Tensor]:
        """Yield the mixer; time steps, inputs and read-outs are projected from the channels."""
        yield from parts.linear(
            f"{at}.in_proj", 2 * self.inner, hidden, "attention", "heads", bias=self.bias
        )
        projected = self.rank + 2 * self.state
        yield from parts.linear(f"{at}.x_proj", projected, self.inner, "attention", "heads")
        yield from parts.linear(
            f"{at}.dt_proj", self.inner, self.rank, "attention", "heads", bias=True
        )
        vectors: list[tuple[str, tuple[int, ...]]]
        vectors = [("conv1d.weight", (self.inner, 1, self.kernel))]
        vectors += [("conv1d.bias", (self.inner,))] if self.convolution_bias else []
        vectors += [("A_log", (self.inner, self.state)), ("D", (self.inner,))]
        for name, shape in vectors:
            yield Tensor(name=f"{at}.{name}", shape=shape, component="attention", shard="heads")
        for name, width in (("dt", self.rank), ("b", self.state), ("c", self.state)):
            yield from parts.norm(f"{at}.{name}_layernorm", width)
        yield from parts.linear(
            f"{at}.out_proj",
            hidden,
            self.inner,
            "attention",
            "heads",
            bias=self.bias,
            bias_shard="replicated",
        )


def read(fields: Fields, names: Names) -> Architecture:
    """Read Jamba; attention has no rotary positions."""
    fields = fields.or_else(num_key_value_heads=8, num_experts=16, num_experts_per_tok=2)
    frame = read_frame(fields)
    heads, mixer = read_heads(fields, frame.hidden), read_mixer(fields, frame)
    mixers = {
        True: tuple(parts.grouped_attention(f"{names.layer}.self_attn", frame.hidden, heads)),
        False: tuple(mixer.tensors(f"{names.layer}.mamba", frame.hidden)),
    }
    feeds = feed_forwards(fields, names, frame)
    norms = tuple(parts.norms(names.layer, frame.hidden, *NORMS))

    def layer(key: tuple[bool, Kind]) -> Layer:
        full, kind = key
        geometry, tensors = feeds[kind]
        return Layer(
            attention=grouped(heads) if full else mixer.remembering(),
            feed_forward=geometry,
            blocks=(mixers[full], tensors, norms),
        )

    full = every(fields, "attn", frame.layers, period=8, offset=4)
    sparse = every(fields, "expert", frame.layers, period=2, offset=1)
    keys: list[tuple[bool, Kind]] = [
        (attends, "sparse" if mixes and "sparse" in feeds else "dense")
        for attends, mixes in zip(full, sparse, strict=True)
    ]
    return assemble(
        names,
        frame,
        stack(keys, layer),
        outer=parts.outer(names, frame, final="final_layernorm"),
    )


def read_mixer(fields: Fields, frame: Frame) -> Mixer:
    """Read the mixer; a rank of "auto" is a sixteenth of the hidden width."""
    rank = -(-frame.hidden // 16)
    if not fields.holds_text("mamba_dt_rank"):
        rank = fields.integer("mamba_dt_rank", default=rank)
    return Mixer(
        inner=fields.integer("mamba_expand", default=2, most=1024) * frame.hidden,
        state=fields.integer("mamba_d_state", default=16),
        kernel=fields.integer("mamba_d_conv", default=4, most=1024),
        rank=rank,
        bias=fields.flag("mamba_proj_bias"),
        convolution_bias=fields.flag("mamba_conv_bias", default=True),
    )


def feed_forwards(fields: Fields, names: Names, frame: Frame) -> Feeds:
    """Return the feed-forward and, where there is more than one expert, the mixture."""
    at = f"{names.layer}.feed_forward"
    dense = DenseFeedForward(width=fields.integer("intermediate_size"))
    feeds: Feeds = {"dense": (dense, tuple(parts.feed_forward(at, frame.hidden, dense.width)))}
    if fields.integer("num_experts", "num_local_experts") == 1:
        return feeds
    experts = read_mixture(fields, width=("intermediate_size",), shared_width=0)
    routed = mixture(at, frame.hidden, experts, gate="router")
    return {**feeds, "sparse": (experts, tuple(routed))}


def every(fields: Fields, what: str, layers: int, *, period: int, offset: int) -> list[bool]:
    """Say which layers hold something: one in a period, so far into it."""
    step = fields.integer(f"{what}_layer_period", default=period)
    first = fields.integer(f"{what}_layer_offset", default=offset, least=0)
    detail = f"{what}_layer_offset = {first} must be below {what}_layer_period = {step}."
    fields.require(f"{what}_layer_offset", detail, holds=first < step)
    return [i % step == first for i in range(layers)]


READERS: Mapping[str, Reader] = {"jamba": read}
