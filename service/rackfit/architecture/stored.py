"""How tensors are laid out and stored in a scheme of the caller's choice, or in a GGUF."""

from rackfit.architecture.gguf.conversion import as_gguf
from rackfit.architecture.gguf.storage import PLAIN
from rackfit.architecture.model import Architecture
from rackfit.architecture.quantization.rules import Quantization, Storage, override
from rackfit.catalog.entries import Scheme

GGUF = frozenset({"gguf", "gguf-mixture"})


def stored_as(
    architecture: Architecture, scheme: Scheme, own: Storage, *, gguf: bool = False
) -> tuple[Architecture, Storage]:
    """Return the architecture as a checkpoint in `scheme` lays it out, and what that stores.

    `own` is what the checkpoint it is made from stores. With `gguf` plain types are those of a
    GGUF, whose vectors are in f32.
    """
    if scheme.kind in GGUF or (gguf and scheme.kind == "plain"):
        return as_gguf(architecture, scheme.id, own)
    return architecture, override(scheme, architecture.dtype)


def as_converted(architecture: Architecture, own: Storage) -> tuple[Architecture, Storage]:
    """Return what llama.cpp's converter makes of a checkpoint, and what that stores.

    It takes plain types and MXFP4 over; anything else it would write in full, which nobody
    asked for: that stays what it is, as what comes from a GGUF does.
    """
    if isinstance(own, Quantization) and own.schemes <= {*PLAIN, "mxfp4"}:
        return as_gguf(architecture, own.default, own)
    return architecture, own
