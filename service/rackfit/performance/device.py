"""An accelerator as kernels meet it: what it multiplies, reads and exchanges a second."""

from math import inf

import msgspec

from rackfit.catalog.entries import Accelerator, Scheme
from rackfit.engines.terms import PCIE_BANDWIDTH
from rackfit.lazy import cached_property
from rackfit.performance.mechanism import (
    COMPUTE_SHARE,
    CONVERTED_SHARE,
    INNER_HOP_SECONDS,
    LINK_SHARE,
    NARROW_SHARE,
    OUTER_HOP_SECONDS,
    READ_SHARE,
    together,
)


class Device(msgspec.Struct, frozen=True, dict=True):
    """The rates one accelerator reaches; operations it has no figure for take no time."""

    accelerator: Accelerator

    @cached_property
    def read(self) -> float:
        """Bytes a second a streaming kernel reads."""
        return self.accelerator.memory_bandwidth * READ_SHARE

    @cached_property
    def plain(self) -> float:
        """Operations a second of large 16-bit products."""
        flops = self.accelerator.flops
        return (flops.get("bf16") or flops.get("fp16") or inf) * COMPUTE_SHARE

    def multiplied(self, scheme: Scheme) -> float:
        """Operations a second of large products with weights stored as `scheme`.

        Where the accelerator lacks the scheme's number type, weights are converted first.
        """
        if scheme.kind == "plain":
            return self.plain
        narrow = self.accelerator.flops.get(scheme.operands, 0.0) * NARROW_SHARE * COMPUTE_SHARE
        converted = self.plain * CONVERTED_SHARE
        return converted if scheme.operands == "bf16" else max(narrow, converted)

    def all_reduce(self, size: float, ranks: int) -> float:
        """Seconds to add up `size` bytes over `ranks`, at once or scattered and gathered."""
        if ranks == 1:
            return 0.0
        inside = ranks <= self.accelerator.domain_size
        hop = INNER_HOP_SECONDS if inside else OUTER_HOP_SECONDS
        seconds = size / (self._inner if inside else self._outer)
        return min(hop + (ranks - 1) * seconds, 2 * hop + 2 * (ranks - 1) / ranks * seconds)

    def pass_round(self, size: float, ranks: int) -> float:
        """Seconds for ranks to send each other their parts of `size` bytes, or to gather them."""
        if ranks == 1:
            return 0.0
        inside = ranks <= self.accelerator.domain_size
        hop = INNER_HOP_SECONDS if inside else OUTER_HOP_SECONDS
        return hop + (ranks - 1) / ranks * size / (self._inner if inside else self._outer)

    def exchange(self, size: float, ranks: int, copies: int) -> float:
        """Seconds to send each of `size` bytes to `copies` of `ranks` ranks, drawn evenly.

        A rank is sent a token once, and a domain too: it is handed on inside (DeepEP's normal
        kernels).
        """
        if ranks == 1:
            return 0.0
        near = min(self.accelerator.domain_size, ranks)
        inside = size * _distinct(near, copies * near / ranks) / self._inner
        if near == ranks:
            return INNER_HOP_SECONDS + inside * (ranks - 1) / ranks
        domains = ranks / near
        outside = size * _distinct(domains, copies) * (domains - 1) / domains / self._outer
        return OUTER_HOP_SECONDS + together(outside, inside)

    def send(self, size: float, ranks: int) -> float:
        """Seconds to hand `size` bytes to the next of `ranks` in a pipeline."""
        if ranks <= self.accelerator.domain_size:
            return INNER_HOP_SECONDS + size / self._inner
        return self.send_far(size)

    def send_far(self, size: float) -> float:
        """Seconds to hand `size` bytes to a rank of another domain."""
        return OUTER_HOP_SECONDS + size / self._outer

    @cached_property
    def _inner(self) -> float:
        return (self.accelerator.scale_up_bandwidth or PCIE_BANDWIDTH) * LINK_SHARE

    @cached_property
    def _outer(self) -> float:
        network = self.accelerator.scale_out_bandwidth * LINK_SHARE
        return min(network, self._inner) or self._inner


def _distinct(places: float, draws: float) -> float:
    """Expected places hit by `draws` even draws."""
    return places * (1.0 - float((1.0 - 1.0 / places) ** draws)) if places > 1 else min(draws, 1.0)
