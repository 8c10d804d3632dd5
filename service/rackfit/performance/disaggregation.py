"""Prefill and decode on replicas of their own: how many of each keep up with one another."""

from math import ceil, floor

import msgspec

MAX_ACCELERATORS = 65_536
"""Accelerators tried where the caller names no limit."""


class Worker(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A replica that does one phase: requests it finishes a second, and accelerators it takes."""

    requests_per_second: float
    accelerators: int


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """`prefill` P and `decode` D replicas (xPyD), and what they serve together.

    `idle` is the share of the faster side's rate that the slower one leaves unused.
    """

    prefill: int
    decode: int
    accelerators: int
    requests_per_second: float
    idle: float


def match_rates(
    prefill: Worker,
    decode: Worker,
    *,
    tolerance: float = 0.1,
    accelerators: int = MAX_ACCELERATORS,
) -> Matched | None:
    """Find the fewest accelerators on which both sides are equally fast within `tolerance`.

    Of equal numbers that with less idle. None where no numbers within `accelerators` match.
    """
    best: Matched | None = None
    for number in range(1, accelerators // prefill.accelerators + 1):
        if best is not None and number * prefill.accelerators >= best.accelerators:
            break
        wanted = number * prefill.requests_per_second / decode.requests_per_second
        fewest = floor(wanted * (1 - tolerance))
        for others in {max(fewest, 1), fewest + 1, ceil(wanted)}:
            found = _together(prefill, decode, number, others)
            if found.idle <= tolerance and found.accelerators <= accelerators:
                best = found if best is None else min(best, found, key=_size)
    return best


def _together(prefill: Worker, decode: Worker, prefills: int, decodes: int) -> Matched:
    rates = prefills * prefill.requests_per_second, decodes * decode.requests_per_second
    return Matched(
        prefill=prefills,
        decode=decodes,
        accelerators=prefills * prefill.accelerators + decodes * decode.accelerators,
        requests_per_second=min(rates),
        idle=1 - min(rates) / max(rates),
    )


def _size(matched: Matched) -> tuple[int, float]:
    return matched.accelerators, matched.idle
