"""Counting parameters: exact integers, each tensor once."""

from collections.abc import Iterator
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
    for count, kind in zip(architecture.kind_counts, architecture.kinds, strict=True):
        for tensor in kind.tensors:
            yield count, tensor
    for tensor in (*architecture.outer, *architecture.draft):
        yield 1, tensor


def count_parameters(architecture: Architecture) -> Parameters:
    """Count the trainable parameters of `architecture` by part."""
    sums: dict[Component, int] = dict.fromkeys(COMPONENTS, 0)
    groups = [(1, architecture.outer), (1, architecture.draft)]
    pairs = zip(architecture.kind_counts, architecture.kinds, strict=True)
    groups += [(count, kind.tensors) for count, kind in pairs]
    for count, tensors in groups:
        for tensor in tensors:
            if not tensor.buffer:
                sums[tensor.component] += count * tensor.elements
    total = sum(sums.values()) - sums["draft"]
    active = total - idle_expert_parameters(architecture) - sums["vision"]
    return Parameters(total=total, active=active, **sums)


def idle_expert_parameters(architecture: Architecture) -> int:
    """Parameters of the routed experts that one token does not use."""
    pairs = zip(architecture.kind_counts, architecture.kinds, strict=True)
    return sum(count * _idle_in(kind) for count, kind in pairs)


def _idle_in(kind: Layer) -> int:
    if not isinstance(kind.feed_forward, ExpertFeedForward):
        return 0
    routed = sum(t.elements for t in kind.tensors if t.component == "routed_experts")
    experts = kind.feed_forward
    return routed * (experts.experts - experts.active) // experts.experts
