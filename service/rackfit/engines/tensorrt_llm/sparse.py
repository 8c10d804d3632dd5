"""Sparse attention that TensorRT-LLM has kernels for, by version.

Sources: examples/models/core/deepseek_v3/README.md (pull request 9141, for 1.2: V3.2 by FlashMLA on
Hopper, by its own kernels on Blackwell); docs/source/models/supported-models.md, which names V4,
and _torch/attention_backend/sparse/deepseek_v4/flash_mla.py, which has it on Hopper. On SM120 its
own kernels are not compiled, and FlashInfer's (pull request 16224) read a cache of a type
(fp8_ds_mla) that no answer here tells it to keep.
"""

from rackfit.engines.attending import SparseKernels
from rackfit.engines.hardware import FROM_HOPPER

SPARSE_KERNELS = SparseKernels(
    source="TensorRT-LLM _torch/attention_backend/sparse; documentation: Supported Models",
    steps={
        "chosen": (((1, 2), FROM_HOPPER),),
        "compressed": (((1, 3), FROM_HOPPER),),
    },
)
