"""Integers in groups of columns with a scale each, and where it says that ranks have whole groups."""

from collections.abc import Mapping

from rackfit.catalog.entries import Scheme

DENSE: Mapping[str, str] = {
    "awq": "vLLM quantization/awq.py and auto_awq.py, SGLang awq/schemes/awq_linear.py: "
    "create_weights, input_size_per_partition % group_size",
    "gptq": "vLLM kernels/linear/mixed_precision/marlin.py, can_implement; SGLang "
    "gptq/schemes/gptq_marlin.py, create_weights: whole groups alone have a scale on a rank",
    "autoround": "github.com/intel/auto-round/issues/643; loaded as GPTQ or AWQ is",
    "int": "vLLM and SGLang compressed_tensors_wNa16.py, create_weights: "
    "input_size_per_partition % group_size",
    "quark": "vLLM quark_w4a16_int4.py, create_weights: input_size_per_partition % group_size",
}
"""Of dense matrices, by how the name of a format of integers begins."""


def family(scheme: Scheme) -> str:
    """How the name of a format begins that has integers in groups; empty for any other."""
    if scheme.scale_rows != 1 or scheme.scale_columns <= 1 or "int" not in scheme.id:
        return ""
    return next((name for name in DENSE if scheme.id.startswith(name)), "")
