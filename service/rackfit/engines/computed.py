"""What engines compute at loading and keep beside the checkpoint's weights."""

from rackfit.architecture.model import Architecture, Attention, LatentAttention
from rackfit.engines.cache_layout import PLAIN_BYTES
from rackfit.engines.split import Split


def rotary_bytes(architecture: Architecture, dtype: str) -> int:
    """One table of cosines and sines for each distinct rotary embedding, in a plain type."""
    element = PLAIN_BYTES[dtype]
    return sum(rotary.positions * rotary.width * element for rotary in architecture.rotaries)


def absorbed_bytes(attention: Attention | None, split: Split, dtype: str) -> int:
    """The up-projections of latent attention once more, unpacked for absorbed decoding."""
    if not isinstance(attention, LatentAttention):
        return 0
    widths = attention.nope_width + attention.value_width
    elements = attention.heads // split.tensor * widths * attention.latent_width
    return elements * PLAIN_BYTES[dtype]
