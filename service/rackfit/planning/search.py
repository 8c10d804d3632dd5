"""The search: every split of a pool from the smallest replica up, the best plans kept."""

from bisect import insort
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split
from rackfit.planning.degrees import (
    MAX_REPLICA_DEVICES,
    divisors,
    expert_degrees,
    tensor_degrees,
)
from rackfit.planning.evaluation import Evaluator, Fit, Miss, too_few
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints
from rackfit.planning.ranking import Key, Order


class Findings(msgspec.Struct, kw_only=True):
    """What a search has found so far; the one mutable thing in it.

    `untried` tells that tensor degrees were legal, but constraints left no split to try.
    """

    limit: int
    rejection_limit: int = 0
    order: Order
    best: list[tuple[Key, Fit]] = []
    misses: list[tuple[tuple[int, ...], Miss]] = []
    illegal: dict[tuple[str, str], Rejection] = {}
    rejected: int = 0
    untried: bool = False
    complete: bool = True

    def add(self, outcome: Fit | Miss) -> None:
        """Keep a fit if it is among the best, a miss if it is among the nearest."""
        if isinstance(outcome, Fit):
            _keep(self.best, (self.order.key(outcome), outcome), self.limit)
            return
        self.rejected += 1
        _keep(self.misses, (nearness(outcome), outcome), max(self.rejection_limit, 1))

    def add_illegal(self, rejection: Rejection, accelerator: str) -> None:
        """Keep a rule broken by degrees, once for each rule and tensor degree."""
        self.rejected += 1
        found = msgspec.structs.replace(rejection, accelerator=accelerator)
        self.illegal.setdefault((rejection.code, rejection.detail), found)

    def settled(self, devices: int) -> bool:
        """Tell whether no split of `devices` or more a replica can still be kept."""
        return len(self.best) == self.limit and self.order.settled(self.best[-1][0], devices)

    @property
    def fits(self) -> list[Fit]:
        """The plans kept, best first."""
        return [fit for _, fit in self.best]


Ranked = TypeVar("Ranked", bound=tuple[Any, Any])


def _keep(ranked: list[Ranked], entry: Ranked, most: int) -> None:
    """Insert `entry` where its key (its first part) belongs, keeping the `most` first."""
    insort(ranked, entry, key=itemgetter(0))
    del ranked[most:]


def nearness(miss: Miss) -> tuple[int, ...]:
    """How far a miss is from fitting: the bytes that lack, then a fixed order."""
    split = miss.split
    degrees = (split.pipeline, split.tensor, split.data, -split.expert, split.replicas)
    return (miss.short_bytes, split.devices, *degrees)


def search_pool(
    evaluator: Evaluator,
    pool: Pool,
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> None:
    """Try every split on one pool, smallest replica first, until no better can come."""
    devices = min(pool.devices(0), constraints.max_accelerators or MAX_REPLICA_DEVICES)
    tensors = list(legal_tensors(evaluator, pool, constraints, findings))
    findings.untried = bool(tensors)
    for size in range(1, min(devices, MAX_REPLICA_DEVICES) + 1):
        if findings.settled(size):
            return
        if expired():
            findings.complete = False
            return
        for split in splits_of_size(evaluator, size, tensors, constraints):
            _try(evaluator, pool, split, constraints, findings)


def legal_tensors(
    evaluator: Evaluator, pool: Pool, constraints: Constraints, findings: Findings
) -> Iterator[int]:
    """Yield the tensor degrees worth trying on a pool; note why the others are not."""
    for tensor in tensor_degrees(constraints, pool.largest_domain):
        split = Split(tensor=tensor)
        rejection = _leaves_domain(split, pool) or evaluator.illegal(split)
        if rejection is None or rejection.code == "expert-block-misaligned":
            yield tensor  # other expert degrees may still be legal
        else:
            findings.add_illegal(rejection, pool.accelerator.id)


def _leaves_domain(split: Split, pool: Pool) -> Rejection | None:
    room = pool.largest_domain
    if split.tensor <= room:
        return None
    return Rejection(
        split=split,
        code="domain-too-small",
        detail=(
            f"TP{split.tensor} would leave its scale-up domain: the largest has {room} "
            f"{pool.accelerator.id}."
        ),
        numbers={"tensor": split.tensor, "domain_devices": room},
        source="tensor parallelism is kept inside a scale-up domain",
    )


def splits_of_size(
    evaluator: Evaluator, size: int, tensors: list[int], constraints: Constraints
) -> Iterator[Split]:
    """Yield the splits of `size` devices a replica that the constraints allow."""
    model = evaluator.question.model
    mixture = model.architecture.experts
    experts = mixture.experts if mixture else 0
    layers = len(model.order)
    for tensor in tensors:
        stages, more = divmod(size, tensor)
        if more:
            continue
        for data in divisors(stages):
            pipeline = stages // data
            if not _allowed(constraints, data, pipeline, experts) or pipeline > layers:
                continue
            for expert in expert_degrees(tensor * data, constraints, experts):
                yield Split(tensor=tensor, pipeline=pipeline, data=data, expert=expert)


def _allowed(constraints: Constraints, data: int, pipeline: int, experts: int) -> bool:
    """Dense models are multiplied by replicas rather than by data ranks of the same bytes."""
    useful = data == 1 or experts > 0
    wanted = useful if constraints.data is None else data == constraints.data
    return wanted and constraints.pipeline in (None, pipeline)


def _try(
    evaluator: Evaluator,
    pool: Pool,
    split: Split,
    constraints: Constraints,
    findings: Findings,
) -> None:
    findings.untried = False
    rejection = evaluator.illegal(split)
    if rejection is not None:
        findings.add_illegal(rejection, pool.accelerator.id)
        return
    outcome = evaluator.evaluate(split, pool)
    most = constraints.max_accelerators
    if isinstance(outcome, Fit) and most is not None and outcome.split.devices > most:
        outcome = too_few(outcome, most // split.tensor)
    findings.add(outcome)
