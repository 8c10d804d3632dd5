"""Mamba-2 mixers: geometry, tensors and the state a sequence keeps."""

from collections.abc import Iterator

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.model import RecurrentAttention, Tensor


class Mamba(msgspec.Struct, frozen=True, kw_only=True):
    """A Mamba-2 mixer's geometry (transformers, models/mamba2).

    `bias` is that of the way in and, unless `output_bias` says otherwise, of the way out, which
    a norm stands before where the mixer is `normed`.
    """

    heads: int
    width: int
    groups: int
    state: int
    kernel: int
    bias: bool
    convolution_bias: bool
    state_dtype: str
    output_bias: bool | None = None
    normed: bool = True

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.width

    @property
    def convolved(self) -> int:
        """Channels of the convolution: inputs and each group's two state projections."""
        return self.inner + 2 * self.groups * self.state

    def remembering(self) -> RecurrentAttention:
        """Return the state of a sequence (vLLM, mamba_utils.py)."""
        return RecurrentAttention(
            heads=self.heads,
            convolution_elements=self.convolved * (self.kernel - 1),
            state_elements=self.inner * self.state,
            state_dtype=self.state_dtype,
        )

    def tensors(self, at: str, hidden: int) -> Iterator[Tensor]:
        """Yield the mixer: one projection in for gate, inputs, states and time steps."""
        rows = self.inner + self.convolved + self.heads
        name = f"{at}.in_proj"
        yield from parts.linear(name, rows, hidden, "attention", "heads", bias=self.bias)
        vectors: list[tuple[str, tuple[int, ...]]]
        vectors = [("conv1d.weight", (self.convolved, 1, self.kernel))]
        vectors += [("conv1d.bias", (self.convolved,))] if self.convolution_bias else []
        vectors += [(vector, (self.heads,)) for vector in ("dt_bias", "A_log", "D")]
        for vector, shape in vectors:
            yield Tensor(name=f"{at}.{vector}", shape=shape, component="attention", shard="heads")
        if self.normed:
            yield from parts.norm(f"{at}.norm", self.inner)
        yield from parts.linear(
            f"{at}.out_proj",
            hidden,
            self.inner,
            "attention",
            "heads",
            bias=self.bias if self.output_bias is None else self.output_bias,
            bias_shard="replicated",
        )
