"""Routed experts on the rank that has most to do: their loads, reads and exchanges."""

from math import log, sqrt

import msgspec

from rackfit.performance.device import Device
from rackfit.performance.mechanism import (
    ELEMENT_BYTES,
    HOTTEST_EXCESS,
    KERNEL_SECONDS,
    POPULARITY_SPREAD,
    TILE_TOKENS,
    together,
)

BALANCED_EXCESS = 1.1
"""The fullest rank's tokens over the mean where hot experts have redundant copies.

Source: lmsys.org, large-scale EP, 2025-05-05: balancedness about 0.9 with 32 redundant experts.
"""

KERNELS = 4
"""Sorting tokens by expert, both grouped products, and adding up."""

COPIES = 3
"""Times a routed token's row is moved: gathered, between the products, and scattered."""


class Experts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One layer's routed experts on one of `ranks` expert ranks, which holds `held` of them.

    `seconds_per_token` is what a token takes in one expert's matrices, `seconds_per_expert`
    what reading one expert takes. `active` experts serve each token, of `hidden` elements that
    are sent to them in `sent_bytes` each. The fullest rank gets `excess` times the mean.
    """

    ranks: int
    held: float
    active: int
    hidden: int
    sent_bytes: float
    excess: float
    seconds_per_token: float
    seconds_per_expert: float

    def seconds(self, tokens: float, device: Device) -> float:
        """Seconds the fullest rank takes for `tokens` of all data ranks together."""
        load = tokens * self.active / self.ranks * self.excess
        touched = self.held * touched_share(load / self.held)
        computing = self.seconds_per_token * (load + touched * TILE_TOKENS)
        moving = COPIES * load * self.hidden * ELEMENT_BYTES / device.read
        reading = touched * self.seconds_per_expert
        return together(computing, reading) + moving + KERNELS * KERNEL_SECONDS


def touched_share(tokens: float) -> float:
    """The share of experts that any token is routed to, at `tokens` an expert on average.

    Popularity is gamma-distributed with spread s, so that tokens an expert are negative
    binomial and 1 - (1 + s^2 t)^(-1/s^2) of the experts get any; s = 0 would be 1 - exp(-t).
    """
    square = POPULARITY_SPREAD**2
    return 1.0 - float((1.0 + square * tokens) ** (-1.0 / square))


def hottest(ranks: int, held: float) -> float:
    """The fullest rank's tokens over the mean, when each of `ranks` holds `held` experts.

    The expected largest of n normal draws stands sqrt(2 ln n) deviations out; the deviation of
    a sum of `held` popularities falls with its root.
    """
    return 1 + HOTTEST_EXCESS * POPULARITY_SPREAD * sqrt(2 * log(ranks) / held)
