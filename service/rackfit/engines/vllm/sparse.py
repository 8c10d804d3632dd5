"""Sparse attention that vLLM has kernels for, by version.

Sources, in wheels of 0.11 to 0.33: supports_compute_capability of each back end that `is_sparse` in
v1/attention/backends/mla, the lists of platforms/{cuda,rocm,xpu}.py, models/deepseek_v4 (before
0.22 model_executor/models/deepseek_v4.py), model_executor/models/registry.py. Gaudi's plug-in has
none: it refuses the attention, or reads all rows in its place (approximate, by its own warning).
"""

from rackfit.engines.attending import SparseKernels
from rackfit.engines.hardware import FP8_AMD, FROM_HOPPER
from rackfit.engines.terms import RTX_BLACKWELL

RTX = frozenset({RTX_BLACKWELL})  # FLASHINFER_MLA_SPARSE_SM120: 12.x
XPU = frozenset({"battlemage"})  # XPU_MLA_SPARSE, models/deepseek_v4/xpu

SPARSE_KERNELS = SparseKernels(
    source="vLLM v1/attention/backends/mla, supports_compute_capability of what is_sparse",
    steps={
        "chosen": (
            ((0, 11), FROM_HOPPER),  # FLASHMLA_SPARSE: 9.x, 10.x; issues 31480, 40851, 50576
            ((0, 12), FP8_AMD),  # ROCM_AITER_MLA_SPARSE
            ((0, 18), XPU),
            ((0, 24), RTX),
        ),
        "compressed": (
            ((0, 20), FROM_HOPPER),
            ((0, 21), FP8_AMD),  # rocm_forward_decode_fallback, then models/deepseek_v4/amd
            ((0, 23), XPU),
            ((0, 24), RTX),
        ),
    },
)
