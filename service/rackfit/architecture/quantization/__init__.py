"""What a checkpoint stores: the scheme of every tensor, and the bytes it takes."""

from rackfit.architecture.quantization.reader import read_quantization
from rackfit.architecture.quantization.rules import (
    Quantization,
    Storage,
    override,
    scale_bytes,
    stored_bytes,
    tiles,
)

__all__ = [
    "Quantization",
    "Storage",
    "override",
    "read_quantization",
    "scale_bytes",
    "stored_bytes",
    "tiles",
]
