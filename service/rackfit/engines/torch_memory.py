"""How PyTorch's allocator rounds large tensors, for engines whose weights it holds.

Source: PyTorch c10/cuda/CUDACachingAllocator.cpp: from 10 MiB on (kMinLargeAlloc) a segment is a
whole multiple of 2 MiB (kRoundLarge), and what is left of it is split off only where that is
more than 1 MiB (kSmallSize).
"""

MIB = 1 << 20
LARGE, STEP, KEPT = 10 * MIB, 2 * MIB, 1 * MIB


def allocated_bytes(size: int) -> int:
    """Bytes counted as allocated for a tensor of `size` bytes."""
    left = -size % STEP
    return size + left if size >= LARGE and left <= KEPT else size
