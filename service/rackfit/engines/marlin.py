"""Marlin's kernels for matrices of 4 and 8 bits, which vLLM and SGLang share."""

from rackfit.catalog.entries import Scheme

SORTED_COLUMN_BYTES = 8
"""A column's group, and where it stands among all when they are sorted, 4 bytes each.

Source: vLLM, kernels/linear/mixed_precision/marlin.py; SGLang, quantization/marlin_utils.py
(marlin_sort_g_idx), and fused_marlin_moe of both.
"""


def column_bytes(scheme: Scheme) -> int:
    """Bytes kept of each column's group; where columns are in their plain order none."""
    return SORTED_COLUMN_BYTES if scheme.column_order == "sorted" else 0
