"""Integers in groups of columns with a scale each: whose they are, and scales that are repeated."""

from collections.abc import Mapping

from rackfit.catalog.entries import Scheme
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.version import Version

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
"""Where it says that ranks have whole groups, by how the name of a format of integers begins."""

EXPERTS: Mapping[str, str] = {
    "awq": "vLLM and SGLang moe_wna16.py, create_weights, where awq.py falls back to it",
    "gptq": "vLLM moe_wna16.py, create_weights; SGLang gptq/schemes/gptq_moe.py, which does not "
    "fall back to it: intermediate_size_per_partition // group_size",
    "autoround": "vLLM inc.py and SGLang auto_round.py, which fall back to moe_wna16.py",
    "int": "vLLM compressed_tensors_moe_wna16.py, create_weights: intermediate size per "
    "partition % group_size",
    "quark": "vLLM quark/quark_moe.py, create_weights",
}
"""The same of experts."""

LEAST_GROUP = 32
"""The smallest group that others are halved to (moe_wna16.py, MoeWNA16Method.create_weights)."""


def family(scheme: Scheme) -> str:
    """How the name of a format begins that has integers in groups; empty for any other."""
    if scheme.scale_rows != 1 or scheme.scale_columns <= 1 or "int" not in scheme.id:
        return ""
    return next((name for name in DENSE if scheme.id.startswith(name)), "")


def halvings(model: ServedModel, split: Split, since: Mapping[str, Version], at: Version) -> int:
    """By how much groups of experts are divided so that slices are whole ones; 0 if they are not.

    Engines halve them, and repeat the scales, of formats that they do so with `since` a version.
    Columns in an order of their own have groups anywhere. Source: vLLM and SGLang, moe_wna16.py.
    """
    experts, parts = model.architecture.experts, split.expert_tensor or 1
    if experts is None or experts.width % parts or len(model.expert_schemes) != 1:
        return 0
    (first,) = model.expert_schemes
    begun = since.get(family(first))
    if begun is None or at < begun or first.column_order == "sorted":
        return 0
    sides, group = (experts.width // parts, model.architecture.hidden_size), first.scale_columns
    while group >= LEAST_GROUP and any(side % group for side in sides):
        group //= 2
    return first.scale_columns // group if group >= LEAST_GROUP else 0
