"""How vLLM pads MXFP4 experts for its kernels.

Source: vLLM 0.19 to 0.33, model_executor/layers/fused_moe/oracle/mxfp4.py,
mxfp4_round_up_hidden_size_and_intermediate_size and what is chosen for a device. The padded sizes
of gpt-oss are those of start-up logs (tests/truth): 13.7 GiB for 20b on A100, 66.0 and 64.4 GiB
for 120b on H100 with Marlin and with Triton.
"""

from fractions import Fraction

from rackfit.engines.hardware import BLACKWELL
from rackfit.engines.padding import MXFP4_VALUES, padded, padded_slices
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import RTX_BLACKWELL
from rackfit.engines.version import Version

MARLIN_ONLY: Version = (0, 11)
"""Before this version Hopper used Marlin too."""

RTX_CUTLASS: Version = (0, 22)
"""From here SM120 has CUTLASS' kernels for MXFP8 by MXFP4; before, Marlin's."""

WITHOUT_FP4_LAYOUT = ("volta", "turing", "ampere", "ada", RTX_BLACKWELL)
HIDDEN, MARLIN_WIDTH, TRITON_WIDTH, CUTLASS_SIDE = 256, 128, 64, 128
WHOLE = ("blackwell", "cdna3", "cdna4")
"""Kernels of these generations pad both sides to 256."""

NARROW: Version = (0, 27)
NARROW_WIDTH = 128
"""From here TensorRT-LLM's, on SM100, pad the width to less."""


def mxfp4_padding(model: ServedModel, split: Split, version: Version, generation: str) -> Fraction:
    """How much larger experts are as loaded than as stored."""
    if generation == RTX_BLACKWELL and version >= RTX_CUTLASS:
        return padded(model.architecture.hidden_size, CUTLASS_SIDE) * padded_slices(
            model, split, CUTLASS_SIDE
        )
    across = padded(model.architecture.hidden_size, HIDDEN)
    if generation in WHOLE:
        narrow = generation in BLACKWELL and version >= NARROW
        return across * padded_slices(model, split, NARROW_WIDTH if narrow else HIDDEN)
    if generation in WITHOUT_FP4_LAYOUT or version < MARLIN_ONLY:
        return across * padded_slices(model, split, MARLIN_WIDTH)
    return (1 + (across - 1) * MXFP4_VALUES) * padded_slices(model, split, TRITON_WIDTH)
