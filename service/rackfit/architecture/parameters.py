"""Counting parameters: exact integers, each tensor once."""

from collections.abc import Iterable, Iterator
from typing import get_args

import msgspec

from rackfit.architecture.model import Architecture, Component, ExpertFeedForward, Layer, Tensor

COMPONENTS: tuple[Component, ...] = get_args(Component)


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Trainable parameters by part; all parts but `draft` are disjoint and sum to `total`.

    `active` is `total` less the routed experts a token does not use, less vision.
    """

    total: int
    active: int
    embedding: int
    head: int
    attention: int
    dense_feed_forward: int
    routed_experts: int
    shared_experts: int
    router: int
    norm: int
    vision: int
    other: int
    draft: int


def counted_tensors(architecture: Architecture) -> Iterator[tuple[int, Tensor]]:
    """Yield every tensor with how many layers it stands in (1 outside the layers)."""
    outside = ((1, architecture.outer), (1, architecture.draft))
    for count, tensors in (*architecture.blocks, *outside):
        for tensor in tensors:
            yield count, tensor


def count_parameters(architecture: Architecture) -> Parameters:
    """Count the trainable parameters of `architecture` by part."""
    tensors = counted_tensors(architecture)
    counted = [(t.component, 0 if t.buffer else count * t.elements) for count, t in tensors]
    return sum_parameters(architecture, counted)


def sum_parameters(
    architecture: Architecture, counted: Iterable[tuple[Component, int]]
) -> Parameters:
    """Sum up trainable parameters that were counted tensor by tensor, each with its part."""
    sums: dict[Component, int] = dict.fromkeys(COMPONENTS, 0)
    for component, parameters in counted:
        sums[component] += parameters
    total = sum(sums.values()) - sums["draft"]
    active = total - _idle(architecture, sums["routed_experts"]) - sums["vision"]
    return Parameters(total=total, active=active, **sums)


def _idle(architecture: Architecture, routed: int) -> int:
    """Of the parameters of all `routed` experts those that one token does not use."""
    mixtures: dict[tuple[int, int], list[tuple[int, Layer]]] = {}
    for count, kind in zip(architecture.kind_counts, architecture.kinds, strict=True):
        mixture = kind.feed_forward
        if isinstance(mixture, ExpertFeedForward):
            choice = (mixture.experts, mixture.active)
            mixtures.setdefault(choice, []).append((count, kind))
    idle = 0
    for (experts, active), kinds in mixtures.items():
        # Nearly all models have one mixture, and then all there is belongs to it.
        one = len(mixtures) == 1
        held = routed if one else sum(count * _routed_in(kind) for count, kind in kinds)
        idle += held * (experts - active) // experts
    return idle


def _routed_in(kind: Layer) -> int:
    return sum(t.elements for t in kind.tensors if t.component == "routed_experts")
