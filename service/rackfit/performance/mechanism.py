"""What bounds a kernel, in a dozen constants that hold for every model, device and engine.

None belongs to a model, an engine or an accelerator. They are round figures within what is
published for such kernels, chosen in view of the step times under tests/truth; docs/performance.md
says what that makes of the reached errors.
"""

from math import hypot

KERNEL_SECONDS = 4e-6
"""Least time of a kernel inside a CUDA graph: launch, ramp and drain.

Source: aiconfigurator systems/*.yaml, mem_empirical_constant_latency, 3 us before the launch.
"""

READ_SHARE = 0.8
"""Part of the memory's bandwidth that streaming kernels reach.

Source: aiconfigurator systems/*.yaml, mem_bw_empirical_scaling_factor.
"""

COMPUTE_SHARE = 0.65
"""Part of the dense peak that large 16-bit products reach under a power limit.

Source: 600 to 700 of 989 TFLOPS, FlashAttention-3 and DeepGEMM's tables on H100.
"""

NARROW_SHARE = 0.6
"""What types narrower than 16 bits reach of their own peak, beside 16-bit ones: they scale and
quantize activations on the way (DeepSeek-V3 report, 3.3.2: promotion every 128 elements)."""

CONVERTED_SHARE = 0.75
"""The same for weights converted to 16 bits inside the kernel (Marlin, Triton mxfp4)."""

GROUPED_COMPUTE_SHARE = 0.6
"""What grouped products over many narrow experts reach beside one large product."""

GROUPED_READ_SHARE = 0.75
"""What the same reach of the bandwidth of streaming kernels."""

TILE_TOKENS = 64
"""Rows of a tile of grouped products: an expert's tokens are rounded up to it."""

POPULARITY_SPREAD = 1.5
"""Standard deviation over mean of experts' popularity without balancing: Zipf-like, as routing
traces show and aiconfigurator's benchmarks assume (power law 1.01 to 1.2)."""

HOTTEST_EXCESS = 2.25
"""How many times further than a normal spread the hottest rank stands out: tails are heavy."""

LINK_SHARE = 0.8
"""Part of a link's bandwidth collectives reach (nccl-tests, large messages)."""

INNER_HOP_SECONDS = 5e-6
"""Latency of one exchange inside a scale-up domain, launch included (custom all-reduce)."""

OUTER_HOP_SECONDS = 15e-6
"""The same over the network (DeepEP's low-latency kernels over RDMA, less their payload)."""

ELEMENT_BYTES = 2
"""Activations travel in 16 bits."""

together = hypot
"""Seconds of a kernel that takes so long to compute and so long to read.

Near the ridge neither hides all of the other; away from it the longer one rules.
"""
