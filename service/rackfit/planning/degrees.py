"""Which degrees of parallelism there are to try."""

from functools import lru_cache

from rackfit.planning.question import Constraints

MAX_REPLICA_DEVICES = 512
"""Largest replica searched; published deployments reach 320 devices."""


@lru_cache(maxsize=4096)
def divisors(number: int) -> tuple[int, ...]:
    """All divisors of `number`, ascending."""
    return tuple(d for d in range(1, number + 1) if number % d == 0)


def tensor_degrees(constraints: Constraints, largest_domain: int) -> tuple[int, ...]:
    """Tensor degrees to try: the caller's, else every one a domain has room for, and one.

    With as many context ranks each as the caller asks for.
    """
    if constraints.tensor is not None:
        return (constraints.tensor,)
    largest = min(largest_domain, MAX_REPLICA_DEVICES) // (constraints.context or 1)
    return tuple(range(1, max(largest, 1) + 1))


def expert_degrees(group: int, constraints: Constraints, experts: int) -> tuple[int, ...]:
    """Expert degrees to try over the `group` of ranks of a stage, of a model with `experts`."""
    wanted = constraints.expert
    if wanted is not None:
        return (wanted,) if group % wanted == 0 else ()
    return tuple(d for d in divisors(group) if d <= max(experts, 1)) if experts else (1,)
