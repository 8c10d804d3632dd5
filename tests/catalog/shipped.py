"""The accelerators of the shipped catalog, with no overlay."""

from importlib import resources

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.catalog.names import AcceleratorIndex

GIB = 1 << 30
FILES = ("nvidia.toml", "amd.toml", "intel.toml")


def _read(file: str) -> list[Accelerator]:
    path = resources.files("rackfit.catalog") / "data" / "accelerators" / file
    return msgspec.toml.decode(path.read_bytes(), type=dict[str, list[Accelerator]])["accelerator"]


ACCELERATORS = [accelerator for file in FILES for accelerator in _read(file)]
INDEX = AcceleratorIndex(ACCELERATORS)
