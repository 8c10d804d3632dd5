"""Sparse attention that SGLang has kernels for, by version.

Sources, in wheels of 0.5.2 to 0.5.23: layers/attention/nsa_backend.py (dsa_backend.py),
deepseek_v4_backend.py and its like for AMD's devices, attention_registry.py; the defaults of
arg_groups/overrides.py, _dsa_split_backend_resolution. An indexer's scores are DeepGEMM's, of
Hopper and Blackwell alone, or AITER's (dsa/paged_mqa_logits_backend.py; issue 35420: none on A100).
V4's kernels are for Hopper and Blackwell (pull request 40566 would widen them to Ada).
"""

from collections.abc import Mapping

from rackfit.engines.attending import SparseKernels
from rackfit.engines.hardware import FP8_AMD, FROM_HOPPER
from rackfit.engines.served import ServedModel
from rackfit.engines.terms import RTX_BLACKWELL
from rackfit.engines.version import Version

RTX = frozenset({RTX_BLACKWELL})

SPARSE_KERNELS = SparseKernels(
    source="SGLang srt/layers/attention: dsa_backend.py, deepseek_v4_backend.py",
    steps={
        "chosen": (((0, 5, 3), FROM_HOPPER | FP8_AMD),),
        "compressed": (
            ((0, 5, 12), FROM_HOPPER),
            ((0, 5, 13), RTX | FP8_AMD),  # flash_mla_sm120; deepseek_v4_backend_hip_radix.py
        ),
    },
)

CHOSEN_ON_RTX: Mapping[str, Version] = {"GlmMoeDsaForCausalLM": (0, 5, 18)}
"""Models that have FlashInfer's kernels on SM120, for rows in fp8 with their scales, and from when.

Source: sglang/srt/arg_groups/overrides.py, _dsa_split_backend_resolution.
"""


def chosen_on_rtx(version: Version, model: ServedModel) -> bool:
    """Tell whether RTX parts of Blackwell read the rows that an indexer chooses."""
    since = CHOSEN_ON_RTX.get(model.architecture.name)
    return since is not None and version >= since and model.kv_cache_dtype == "fp8"
