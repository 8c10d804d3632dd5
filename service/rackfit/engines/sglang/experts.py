"""How SGLang keeps MXFP4 experts: padded for the kernels it chooses, or in a wider type.

Source: sglang/srt/layers/quantization/mxfp4.py (Mxfp4MoEMethod, as for gpt-oss) and fp8.py,
mxfp4_marlin_moe.py, mxfp4_flashinfer_*_moe.py (experts of FP8 checkpoints, as DeepSeek-V4's),
moe/fused_moe_triton/layer.py; server_args.py and arg_groups/model_overrides for what it chooses.
Versions 0.5.1 to 0.5.23.
"""

from fractions import Fraction

from rackfit.engines.hardware import BLACKWELL, FP8_AMD
from rackfit.engines.padding import AS_STORED, beside_fp8, padded, padded_slices
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import RTX_BLACKWELL
from rackfit.engines.version import Version

HIDDEN = 256
"""FlashInfer's, AITER's and Marlin's kernels have the hidden size in whole multiples of this."""

NARROW: Version = (0, 5, 17)
FLASHINFER_WIDTH, FLASHINFER_WIDTH_THEN = 128, 256
"""The width for FlashInfer on Blackwell, and before that version."""

RTX_WIDTH = 128
"""The width on SM120: FlashInfer's by CUTLASS, Marlin's up to 0.5.14."""

SWIZZLED: Version = (0, 5, 12)
TRITON_WIDTH, TRITON_WIDTH_THEN = 64, 32
"""The width for Triton's kernels, and before that version."""

UPCAST = Fraction(2 * 32, 17)
"""bf16 for the 17 bytes of each 32 weights: Triton's kernels do not divide experts by number."""

CHOSEN: Version = (0, 5, 19)
"""From here experts of FP8 checkpoints have FlashInfer's kernels, which keep them as stored;
before, on Hopper, Marlin's had to be named."""

BYTE_SCALES: Version = (0, 5, 16)
AGAIN, AGAIN_IN_F32 = Fraction(1, 17), Fraction(4, 17)
"""Marlin makes scales of its own and keeps the loaded ones, bytes since that version, then f32.

With f32 DeepSeek-V4-Pro's 102.5 GiB at TP8 are 125.1; a log has 125.65 (InferenceX 2128).
"""


def by_marlin(version: Version, model: ServedModel, generation: str) -> bool:
    """Tell whether `--moe-runner-backend=marlin` must be named."""
    held = (scheme.id for scheme in model.expert_schemes)
    return generation == "hopper" and version < CHOSEN and "mxfp4" in held and beside_fp8(model)


def mxfp4_padding(version: Version, model: ServedModel, split: Split, generation: str) -> Fraction:
    """How much larger experts are as loaded than as stored."""
    if beside_fp8(model):
        if not by_marlin(version, model, generation):
            return AS_STORED
        return 1 + (AGAIN if version >= BYTE_SCALES else AGAIN_IN_F32)
    across = padded(model.architecture.hidden_size, HIDDEN)
    if generation in BLACKWELL:
        width = FLASHINFER_WIDTH if version >= NARROW else FLASHINFER_WIDTH_THEN
        return across * padded_slices(model, split, width)
    if generation == RTX_BLACKWELL:
        return across * padded_slices(model, split, RTX_WIDTH)
    if generation in FP8_AMD:
        return across * padded_slices(model, split, HIDDEN)
    width = TRITON_WIDTH if version >= SWIZZLED else TRITON_WIDTH_THEN
    kept = padded_slices(model, split, width)
    return kept if split.expert == 1 else kept * UPCAST
