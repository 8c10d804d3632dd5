"""What an engine takes beside weights and cache, term by term, each with how far it is known."""

from collections.abc import Iterable

import msgspec

from rackfit.catalog.entries import Accelerator

PCIE_BANDWIDTH = 64e9
"""Bytes a second of PCIe 5.0 x16: what is faster has links of its own (NVLink, XGMI)."""


RTX_BLACKWELL = "rtx-blackwell"
"""Kernels of SM120 and SM121."""


class Term(msgspec.Struct, frozen=True, gc=False):
    """Bytes on one rank with their reason.

    `band` is the relative error to expect: 0 where arithmetic gives the bytes exactly.
    """

    name: str
    bytes: int
    band: float
    source: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine prepares for: the fullest batch, and the device's kind.

    `linked` tells whether devices of a group are joined by more than PCIe; `generation` is that of
    the kernels that the device runs (`kernels`), empty where none is named. `prompt_tokens` are
    those of the longest prompt, where the engine may have to read it at once.
    """

    batched_tokens: int
    sequences: int
    prompt_tokens: int = 0
    linked: bool = True
    generation: str = ""


class Fixed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Bytes a rank takes whatever it serves: all but the cache."""

    weights: int
    activation: int
    overhead: int

    @property
    def all(self) -> int:
        """Their sum."""
        return self.weights + self.activation + self.overhead


def kernels(accelerator: Accelerator | None) -> str:
    """Whose kernels a device runs: its generation's, Blackwell's two kinds told apart.

    Those written for SM100 (B200 and its like) are not for SM120 and SM121 (RTX, GB10), whose
    parts have no links but PCIe.
    """
    if accelerator is None:
        return ""
    rtx = accelerator.generation == "blackwell" and not linked(accelerator)
    return RTX_BLACKWELL if rtx else accelerator.generation


def total(terms: Iterable[Term]) -> int:
    """Bytes of all terms."""
    return sum(term.bytes for term in terms)


def linked(accelerator: Accelerator | None) -> bool:
    """Tell whether devices of a node are joined by more than PCIe (None: taken for granted)."""
    return accelerator is None or accelerator.scale_up_bandwidth > PCIE_BANDWIDTH
