"""Degrees near those that break a rule, nearest first."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import log2
from typing import NamedTuple

from rackfit.planning.degrees import divisors, expert_degrees
from rackfit.planning.question import Constraints

MOST_CHANGED = 2
"""Degrees changed at once."""

DATA_DEGREES, CONTEXT_DEGREES = 8, 4
"""Data degrees looked at, the nearest, and those of context ranks besides their divisors."""

SHORT = {"tensor": "TP", "pipeline": "PP", "data": "DP", "context": "CP", "expert": "EP"}
"""Degrees as people write them."""


class Degrees(NamedTuple):
    """The degrees that rules look at together."""

    tensor: int
    data: int
    context: int
    expert: int


def near_degrees(
    own: Degrees, constraints: Constraints, tensors: Sequence[int], experts: int
) -> Iterator[Degrees]:
    """Yield degrees with one or two of `own` changed, nearest first.

    Those come first that leave what the caller insists on; then those that change fewer
    degrees, these by smaller factors, and of those as near the ones that leave the devices.

    Args:
        own: break a rule.
        constraints: the caller's.
        tensors: tensor degrees there are.
        experts: the model's experts, 0 where it is dense.
    """
    pinned = Degrees(*(getattr(constraints, name) is not None for name in Degrees._fields))

    def distance(other: Degrees) -> tuple[float, ...]:
        changed = [old != new for old, new in zip(own, other, strict=True)]
        broken = sum(c and p for c, p in zip(changed, pinned, strict=True))
        factors = sum(apart(old, new) for old, new in zip(own, other, strict=True))
        return (broken, sum(changed), round(factors, 9), *changed, *(-degree for degree in other))

    datas = nearest(own.data, range(1, 2 * own.data + 1))[:DATA_DEGREES]
    contexts = nearest(own.context, range(1, 2 * own.context + 1)) if own.context > 1 else []
    contexts = [*contexts[:CONTEXT_DEGREES], *divisors(own.context)]
    found = {
        Degrees(tensor, data, context, expert)
        for tensor, data, context in product(
            {own.tensor, *tensors},
            {1, own.data, *datas},
            contexts,
        )
        for expert in expert_degrees(tensor * data * context, Constraints(), experts)
    }
    near = {d for d in found if 0 < _changed(own, d) <= MOST_CHANGED}
    yield from sorted(near, key=distance)


def _changed(own: Degrees, other: Degrees) -> int:
    return sum(old != new for old, new in zip(own, other, strict=True))


def apart(one: int, other: int) -> float:
    """How far two degrees are from each other: the logarithm of their factor."""
    return abs(log2(other / one))


def nearest(degree: int, others: Sequence[int]) -> list[int]:
    """Other degrees than this, nearest first, of two as near the larger."""
    return sorted(
        (o for o in others if o != degree), key=lambda o: (round(apart(degree, o), 9), -o)
    )
