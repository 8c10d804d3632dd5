"""How tensors are laid out and stored in a scheme of the caller's choice, or in a GGUF."""

from collections.abc import Mapping

from rackfit.architecture.gguf.conversion import as_gguf
from rackfit.architecture.gguf.storage import PLAIN
from rackfit.architecture.model import Architecture
from rackfit.architecture.quantization.rules import (
    Quantization,
    Storage,
    checkpoint_schemes,
    override,
)
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
    return architecture, override(scheme, architecture.dtype, own)


def scaled_as_checkpoint(scheme: Scheme, own: Storage, schemes: Mapping[str, Scheme]) -> Scheme:
    """Return the scheme of a number type that is named without saying how it is scaled.

    FP8 of a checkpoint that has FP8 in tiles is FP8 in such tiles: engines go by its scales
    (vLLM Fp8Config.from_config and SGLang's: weight_block_size), and its other releases have them.
    """
    if scheme.kind != "scaled" or scheme.id != scheme.operands:
        return scheme
    held = (schemes[name] for name in checkpoint_schemes(own))
    alike = [one for one in held if _same_numbers(one, scheme)]
    return alike[0] if len(alike) == 1 else scheme


def _same_numbers(one: Scheme, other: Scheme) -> bool:
    numbers = (other.kind, other.operands, other.block_elements, other.block_bytes)
    return (one.kind, one.operands, one.block_elements, one.block_bytes) == numbers


def as_converted(architecture: Architecture, own: Storage) -> tuple[Architecture, Storage]:
    """Return what llama.cpp's converter makes of a checkpoint, and what that stores.

    It takes plain types and MXFP4 over; anything else it would write in full, which nobody
    asked for: that stays what it is, as what comes from a GGUF does.
    """
    if isinstance(own, Quantization) and own.schemes <= {*PLAIN, "mxfp4"}:
        return as_gguf(architecture, own.default, own)
    return architecture, own
