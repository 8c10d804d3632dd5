"""The search: every split of a pool from the smallest replica up, the best plans kept."""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.outcomes import Fit, Miss
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints
from rackfit.planning.ranking import Key, Order
from rackfit.planning.refusals import OF_TENSOR, leaves_domain, nothing_to_try

Refusal = tuple[str | None, str, str]
"""What refused splits have in common: accelerator, code and detail."""


class Findings(msgspec.Struct, kw_only=True):
    """What a search has found so far; the one mutable thing in it.

    Splits that break a rule alike are kept once and counted in `alike`. Those `passed_over` lack
    so many bytes at least, and are evaluated only if they may be among the nearest misses. Where
    `any_fit` will do the first that is found ends the search.
    """

    limit: int
    rejection_limit: int = 0
    any_fit: bool = False
    order: Order
    best: list[tuple[Key, Fit]] = []
    unbeaten: dict[tuple[float, ...], tuple[Key, Fit]] = {}
    misses: list[tuple[tuple[int, ...], Miss]] = []
    passed_over: list[tuple[int, Split, Pool]] = []
    illegal: dict[Refusal, Rejection] = {}
    alike: Counter[Refusal] = msgspec.field(default_factory=Counter)
    rejected: int = 0
    complete: bool = True

    def add(self, outcome: Fit | Miss) -> None:
        """Keep a fit if it is among the best, a miss if it is among the nearest."""
        if isinstance(outcome, Fit):
            self._add_fit(outcome)
            return
        self.rejected += 1
        self._add_miss(outcome)

    def _add_miss(self, miss: Miss) -> None:
        _keep(self.misses, (nearness(miss), miss), max(self.rejection_limit, 1))

    def pass_over(self, short: int, split: Split, pool: Pool) -> None:
        """Count a split that lacks `short` bytes at least, which is not yet evaluated."""
        self.rejected += 1
        self.passed_over.append((short, split, pool))

    def catch_up(self, evaluator: Evaluator, expired: Callable[[], bool]) -> None:
        """Evaluate what was passed over as long as it may be nearer than the misses kept."""
        for short, split, pool in sorted(self.passed_over, key=itemgetter(0)):
            enough = len(self.misses) >= max(self.rejection_limit, 1)
            if expired() or (enough and short > self.misses[-1][0][0]):
                break
            if enough and evaluator.bounds.surely_short(split, pool) > self.misses[-1][0][0]:
                continue
            outcome = evaluator.evaluate(split, pool)
            if isinstance(outcome, Miss):
                self._add_miss(outcome)
            else:  # the bound was none
                self.rejected -= 1
                self._add_fit(outcome)
        self.passed_over.clear()

    def _add_fit(self, fit: Fit) -> None:
        ranked = self.order.key(fit), fit
        if self.order.second is None:
            _keep(self.best, ranked, self.limit)
            return
        aims = self.order.aims(fit)
        equal = self.unbeaten.get(aims)
        if equal is not None:
            self.unbeaten[aims] = min(equal, ranked, key=itemgetter(0))
        elif not any(_beats(other, aims) for other in self.unbeaten):
            kept = {a: r for a, r in self.unbeaten.items() if not _beats(aims, a)}
            self.unbeaten = {**kept, aims: ranked}

    def add_illegal(self, rejection: Rejection, accelerator: str | None) -> None:
        """Keep a refusal, once for all splits of an accelerator that are refused alike."""
        self.rejected += 1
        key = (accelerator, rejection.code, rejection.detail)
        self.alike[key] += 1
        if key not in self.illegal:
            self.illegal[key] = msgspec.structs.replace(rejection, accelerator=accelerator)

    def settled(self, devices: int) -> bool:
        """Tell whether no split of `devices` or more a replica can still be kept."""
        if self.any_fit and self.best:
            return True
        return len(self.best) == self.limit and self.order.settled(self.best[-1][0], devices)

    @property
    def fits(self) -> list[Fit]:
        """The plans kept, best first."""
        unbeaten = sorted(self.unbeaten.values(), key=itemgetter(0))[: self.limit]
        return [fit for _, fit in self.best or unbeaten]

    @property
    def refused(self) -> list[Rejection]:
        """Rules broken, each with the number of splits it stands for.

        Those that look at more than the tensor degree come first: they tell what is left.
        """
        refused = [
            msgspec.structs.replace(rejection, alike=self.alike[key])
            for key, rejection in self.illegal.items()
        ]
        return sorted(refused, key=lambda rejection: rejection.code in OF_TENSOR)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Tell whether aims are no worse than others in anything, and not the same."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


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
    most = min(pool.devices(0), constraints.max_accelerators or MAX_REPLICA_DEVICES)
    tensors = list(legal_tensors(evaluator, pool, constraints, findings))
    tried, of_a_phase = False, evaluator.question.phase != "both"
    for size in range(1, min(most, MAX_REPLICA_DEVICES) + 1):
        if findings.settled(size):
            return
        if expired():
            findings.complete = False
            return
        for split in splits_of_size(evaluator, size, tensors, constraints):
            tried = True
            _try(evaluator, pool, split, findings)
            if constraints.decode_context is None:
                _divide_cache(evaluator, pool, split, findings)
            if of_a_phase and constraints.tensor is None and constraints.context is None:
                _divide_sequences(evaluator, pool, split, findings)
            if findings.any_fit and findings.best:
                return
    if tensors and not tried:
        _try_larger(evaluator, pool, tensors, constraints, findings)


def _try_larger(
    evaluator: Evaluator,
    pool: Pool,
    tensors: Sequence[int],
    constraints: Constraints,
    findings: Findings,
) -> None:
    """Reject the smallest splits the constraints leave, all too large for the pool or them."""
    for size in range(1, MAX_REPLICA_DEVICES + 1):
        splits = list(splits_of_size(evaluator, size, tensors, constraints))
        for split in splits:
            _try(evaluator, pool, split, findings)
        if splits:
            return
    layers = len(evaluator.question.model.order)
    findings.add_illegal(nothing_to_try(constraints, layers), pool.accelerator.id)


def legal_tensors(
    evaluator: Evaluator, pool: Pool, constraints: Constraints, findings: Findings
) -> Iterator[int]:
    """Yield the tensor degrees worth trying on a pool; note why the others are not."""
    context = constraints.context or 1
    unsupported = evaluator.unsupported(pool, context)
    if unsupported is not None:
        findings.add_illegal(unsupported, pool.accelerator.id)
        return
    for tensor in tensor_degrees(constraints, pool.largest_domain):
        rejection = evaluator.illegal(Split(tensor=tensor))
        if rejection is None or rejection.code == "expert-block-misaligned":
            # Other degrees may still be legal.
            rejection = leaves_domain(Split(tensor=tensor, context=context), pool)
        if rejection is None:
            yield tensor
        else:
            findings.add_illegal(rejection, pool.accelerator.id)


def splits_of_size(
    evaluator: Evaluator, size: int, tensors: Sequence[int], constraints: Constraints
) -> Iterator[Split]:
    """Yield the splits of `size` devices a replica that the constraints allow."""
    model = evaluator.question.model
    mixture = model.architecture.experts
    experts = mixture.experts if mixture else 0
    layers, context = len(model.order), constraints.context or 1
    for tensor in tensors:
        stages, more = divmod(size, tensor * context)
        if more:
            continue
        for data in divisors(stages):
            pipeline = stages // data
            if not _allowed(constraints, data, pipeline, experts) or pipeline > layers:
                continue
            for expert in expert_degrees(tensor * data * context, constraints, experts):
                yield Split(
                    tensor=tensor,
                    pipeline=pipeline,
                    data=data,
                    context=context,
                    expert=expert,
                    decode_context=constraints.decode_context or 1,
                )


def _allowed(constraints: Constraints, data: int, pipeline: int, experts: int) -> bool:
    """Dense models are multiplied by replicas rather than by data ranks of the same bytes."""
    useful = data == 1 or experts > 0
    wanted = useful if constraints.data is None else data == constraints.data
    return wanted and constraints.pipeline in (None, pipeline)


def _divide_cache(evaluator: Evaluator, pool: Pool, split: Split, findings: Findings) -> None:
    """Try a split with its cache divided where it is repeated, if it lacks room or is multiplied.

    Only what fits is kept: with an undivided cache it has been told why it does not.
    """
    degrees = evaluator.decode_contexts(split.tensor)
    if not degrees or evaluator.illegal(split) or evaluator.bounds.least_short(split, pool) > 0:
        return
    whole = evaluator.evaluate(split, pool)
    if isinstance(whole, Fit) and whole.split.replicas == 1:
        return
    for degree in degrees:
        divided = msgspec.structs.replace(split, decode_context=degree)
        outcome = evaluator.evaluate(divided, pool)
        if isinstance(outcome, Fit):
            findings.add(outcome)


def _divide_sequences(evaluator: Evaluator, pool: Pool, split: Split, findings: Findings) -> None:
    """Try a split with tensor ranks that divide sequences instead, where the engine has such.

    Only what fits is kept, as it takes the same devices.
    """
    for degree in evaluator.contexts(split.tensor, pool):
        tensor = split.tensor // degree
        other = msgspec.structs.replace(split, tensor=tensor, context=degree)
        if evaluator.illegal(other) is None and evaluator.bounds.least_short(other, pool) <= 0:
            outcome = evaluator.evaluate(other, pool)
            if isinstance(outcome, Fit):
                findings.add(outcome)


def _try(evaluator: Evaluator, pool: Pool, split: Split, findings: Findings) -> None:
    rejection = evaluator.illegal(split)
    if rejection is not None:
        findings.add_illegal(rejection, pool.accelerator.id)
    elif (short := evaluator.bounds.least_short(split, pool)) > 0:
        findings.pass_over(short, split, pool)
    else:
        findings.add(evaluator.evaluate(split, pool))
