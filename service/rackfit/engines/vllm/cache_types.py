"""Types that vLLM keeps its cache in: what it can be told, and whose kernels read them.

Source: vLLM config/cache.py, CacheDType, of 0.10.1 to 0.33; for FP4 what FlashInfer's back end says
it supports. Back ends of latent rows take both 16-bit types (v1/attention/backends/mla,
supported_kv_cache_dtypes, 0.20 to 0.30).
"""

from collections.abc import Mapping

from rackfit.architecture.model import CompressedAttention, GroupedAttention
from rackfit.catalog.entries import Accelerator
from rackfit.engines.hardware import BLACKWELL, FROM_AMPERE
from rackfit.engines.served import ServedModel
from rackfit.engines.terms import RTX_BLACKWELL, kernels
from rackfit.engines.version import Version

TOLD: Mapping[str, tuple[str, Version]] = {
    "fp8": ("fp8", (0, 0)),
    "bf16": ("bfloat16", (0, 11)),
    "f16": ("float16", (0, 18)),
    "nvfp4": ("nvfp4", (0, 21)),
}
"""What `--kv-cache-dtype` takes beside "auto", and from when."""

FP4 = "nvfp4"
FP4_SOURCE = "vLLM v1/attention/backends/flashinfer.py, supports_kv_cache_dtype"
FP4_ANYWHERE: Version = (0, 32)
FP4_ON = FROM_AMPERE | {RTX_BLACKWELL}
"""From that version FlashAttention 2 reads a cache in FP4, on any of these; before, SM100 alone."""


def kept(version: Version, model: ServedModel) -> bool:
    """Tell whether a version keeps the type asked for: the model's own, or one it can be told.

    FP4 has kernels for grouped attention alone. Compressed rows are FP8 in every back end that is
    chosen unasked (DeepseekV4Attention, 0.20 to 0.33, refuses others when it starts).
    """
    dtype = model.kv_cache_dtype
    if any(isinstance(kind.attention, CompressedAttention) for kind in model.kinds):
        return dtype == "fp8"
    told = dtype in TOLD and version >= TOLD[dtype][1]
    grouped = all(isinstance(kind.attention, GroupedAttention) for kind in model.kinds)
    return dtype == model.dtype or (told and (dtype != FP4 or grouped))


def read_on(version: Version, dtype: str, accelerator: Accelerator) -> bool:
    """Tell whether some kernel of a version reads a cache of that type on such devices."""
    held = FP4_ON if version >= FP4_ANYWHERE else BLACKWELL
    return dtype != FP4 or kernels(accelerator) in {"", *held}
