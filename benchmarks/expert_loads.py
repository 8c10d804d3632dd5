"""Loads of experts that are like measured ones, and the deployments they are placed on."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from benchmarks.eplb import Deployment, Floats

LAYERS = 58
TOTAL = 1_000_000


class Case(NamedTuple):
    """A kind of load with its parameter, the experts of a layer, and where they go."""

    kind: Literal["zipf", "lognormal"]
    parameter: float
    experts: int
    to: Deployment


SUITE: Mapping[str, Case] = {
    "zipf 0.5, 288 / 32": Case("zipf", 0.5, 256, Deployment(288, 32)),
    "zipf 0.5, 320 / 64": Case("zipf", 0.5, 256, Deployment(320, 64)),
    "zipf 0.5, 288 / 72": Case("zipf", 0.5, 256, Deployment(288, 72)),
    "zipf 0.5, 288 / 144": Case("zipf", 0.5, 256, Deployment(288, 144)),
    "zipf 1.2, 320 / 64": Case("zipf", 1.2, 256, Deployment(320, 64)),
    "lognormal 0.5, 288 / 32": Case("lognormal", 0.5, 256, Deployment(288, 32)),
    "lognormal 0.5, 320 / 64": Case("lognormal", 0.5, 256, Deployment(320, 64)),
    "lognormal 0.5, 288 / 144": Case("lognormal", 0.5, 256, Deployment(288, 144)),
    "lognormal 1.0, 288 / 72": Case("lognormal", 1.0, 256, Deployment(288, 72)),
    "zipf 0.5, 384 experts, 432 / 144": Case("zipf", 0.5, 384, Deployment(432, 144)),
    "lognormal 0.5, 384 experts, 448 / 64": Case("lognormal", 0.5, 384, Deployment(448, 64)),
    "lognormal 0.5, 288 / 32, 8 groups on 4 nodes": Case(
        "lognormal", 0.5, 256, Deployment(288, 32, 4, 8)
    ),
    "lognormal 1.0, 320 / 64, 8 groups on 8 nodes": Case(
        "lognormal", 1.0, 256, Deployment(320, 64, 8, 8)
    ),
}
"""Slots / ranks, as they are deployed."""


def loads(case: Case, seed: int, layers: int = LAYERS) -> Floats:
    """Return counts of tokens, a million a layer and one at least: [layers, experts]."""
    random = np.random.default_rng(seed)
    if case.kind == "zipf":
        rank = np.arange(1, case.experts + 1) ** -case.parameter
        drawn = random.permuted(rank * random.lognormal(0, 0.2, (layers, case.experts)), axis=1)
    else:
        drawn = random.lognormal(0, case.parameter, (layers, case.experts))
    shares: Floats = drawn / drawn.sum(axis=1, keepdims=True)
    return np.maximum(np.rint(shares * TOTAL), 1.0)


def drifted(load: Floats, seed: int, share: float = 0.05) -> Floats:
    """Return loads some time later."""
    factor = np.random.default_rng(seed).lognormal(0, share, load.shape)
    return np.maximum(np.rint(load * factor), 1)
