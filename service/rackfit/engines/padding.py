"""How far MXFP4 experts are padded: slices to whole blocks, and what kernels want."""

from fractions import Fraction
from math import lcm

from rackfit.catalog.entries import Scheme
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

AS_STORED = Fraction(1)

MXFP4_VALUES = Fraction(16, 17)
"""Share of the values in MXFP4's bytes, the rest being scales: 16 of 17 bytes."""


def scheme_block(scheme: Scheme) -> int:
    """Elements a divided dimension must keep together in `scheme`."""
    return lcm(scheme.block_elements, max(scheme.scale_rows, 1), max(scheme.scale_columns, 1))


def rounds_blocks(model: ServedModel, scheme: Scheme) -> bool:
    """Tell whether each rank is given whole blocks of experts, the last ones fewer.

    So MXFP4 experts beside plain matrices are loaded (vLLM and SGLang, models/gpt_oss.py,
    per_rank_intermediate_size_block; TensorRT-LLM, fused_moe/quantization.py,
    _get_weight_alignment); those of FP8 checkpoints are cut evenly, as FP8 is.
    """
    return scheme.id == "mxfp4" and not beside_fp8(model)


def beside_fp8(model: ServedModel) -> bool:
    """Tell whether a model's other matrices are in FP8: experts are then loaded as FP8's are."""
    return any(scheme.id.startswith("fp8") for scheme in model.used_schemes)


def padded(size: int, multiple: int) -> Fraction:
    """How much larger a side of `size` elements is as a whole number of `multiple`."""
    return Fraction(-(-size // multiple) * multiple, size) if size else AS_STORED


def padded_slices(model: ServedModel, split: Split, multiple: int) -> Fraction:
    """The same of an expert's width, each rank's slice of it being padded."""
    parts, experts = split.expert_tensor or 1, model.architecture.experts
    if experts is None or not experts.width:
        return AS_STORED
    each = -(-experts.width // (parts * multiple)) * multiple
    return Fraction(each * parts, experts.width)
