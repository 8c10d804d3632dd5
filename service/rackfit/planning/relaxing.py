"""What the caller insists on, changed as little as it takes: legal degrees, a larger allowance."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

import msgspec

from rackfit.engines.rejection import Fix
from rackfit.engines.split import Split
from rackfit.planning.changes import constrained, named
from rackfit.planning.degrees import MAX_REPLICA_DEVICES
from rackfit.planning.finding import Finder
from rackfit.planning.neighbours import Degrees, near_degrees, nearest
from rackfit.planning.outcomes import Fit
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints
from rackfit.planning.refusals import leaves_domain
from rackfit.planning.search import legal_tensors, splits_of_size

TRIED = 8
"""Nearest degrees tried before one is offered that is only legal."""

DEGREES = ("expert", "data", "context", "pipeline", "tensor")
"""Degrees a caller may insist on, those first whose change matters least."""

OTHERS = ("max_accelerators", "replicas", "node_loss", "decode_context")
"""What else may be given up."""

Changed = Mapping[str, Any]


class Relaxer:
    """Tries other constraints than the caller's."""

    def __init__(self, finder: Finder) -> None:
        self.finder = finder
        self.constraints = finder.constraints
        self.evaluator = finder.evaluator
        mixture = finder.evaluator.question.model.architecture.experts
        self.experts = mixture.experts if mixture else 0

    def tensors(self, split: Split, pool: Pool) -> Iterator[Fix]:
        """Legal tensor degrees, nearest first; one that fits before one that is only legal."""
        possible = self.evaluator.decode_contexts
        rows = self.constraints.decode_context or 1
        there = [t for t in self._legal_tensors(pool) if rows == 1 or rows in possible(t)]
        legal = nearest(split.tensor, there)
        yield from self._nearest({"tensor": split.tensor}, [{"tensor": t} for t in legal], pool)

    def neighbours(self, split: Split, pool: Pool) -> Iterator[Fix]:
        """Legal degrees near a split's: one that fits before one that is only legal."""
        own = Degrees(*(getattr(self.constraints, n) or getattr(split, n) for n in Degrees._fields))
        near = near_degrees(own, self.constraints, self._legal_tensors(pool), self.experts)
        rows = self.constraints.decode_context or 1  # stays in the request beside the others
        legal = (d for d in near if self._legal(Split(**d._asdict(), decode_context=rows), pool))
        others = [degrees._asdict() for degrees in islice(legal, TRIED)]
        yield from self._nearest(own._asdict(), others, pool)

    def _legal(self, split: Split, pool: Pool) -> bool:
        """Tell whether a pool has domains for a split that breaks no rule."""
        refused = self.evaluator.unsupported(pool, split.context) or self.evaluator.illegal(split)
        return (refused or leaves_domain(split, pool)) is None

    def _legal_tensors(self, pool: Pool) -> Sequence[int]:
        return list(legal_tensors(self.evaluator, pool, Constraints(), self.finder.nothing_yet()))

    def _nearest(
        self, own: Mapping[str, int], near: Sequence[Mapping[str, int]], pool: Pool
    ) -> Iterator[Fix]:
        for other in near[:TRIED]:
            if self._fits(other, pool):
                yield _instead(own, other, "is legal and fits.", verified=True)
        if any(getattr(self.constraints, name) is not None for name in own):
            yield from self.given_up(pool)
        for other in near[:1]:
            yield _instead(own, other, "is legal; more is needed to fit.", verified=False)

    def contradicted(self, pool: Pool) -> Iterator[Fix]:
        """One degree the caller insists on, moved to the nearest that fits, or that there is."""
        moves = [
            ({name: own}, {name: degree})
            for name in DEGREES
            if (own := getattr(self.constraints, name)) is not None
            for degree in nearest(own, range(1, self._largest(name, pool) + 1))[:TRIED]
        ]
        for own, other in moves:
            if self._fits(other, pool):
                yield _instead(own, other, "fits.", verified=True)
        yield from self.given_up(pool)
        tensors = self._legal_tensors(pool)
        for own, other in moves:
            if self._exists(other, tensors, pool):
                yield _instead(own, other, "is possible; more is needed to fit.", verified=False)

    def _exists(self, changed: Changed, tensors: Sequence[int], pool: Pool) -> bool:
        """Tell whether there is any legal split under changed constraints."""
        constraints = msgspec.structs.replace(self.constraints, **changed)
        legal = [t for t in tensors if constraints.tensor in (None, t)]
        return any(
            self._legal(split, pool)
            for size in range(1, MAX_REPLICA_DEVICES + 1)
            for split in splits_of_size(self.evaluator, size, legal, constraints)
        )

    def _largest(self, name: str, pool: Pool) -> int:
        """The largest degree worth trying beside the others the caller insists on."""
        if name == "expert":
            return max(self.experts, 1)
        others = (getattr(self.constraints, n) or 1 for n in DEGREES[1:] if n != name)
        most = self.constraints.max_accelerators or MAX_REPLICA_DEVICES
        largest = min(pool.devices(0), most, MAX_REPLICA_DEVICES) // prod(others)
        layers = len(self.evaluator.question.model.order)
        return min(largest, layers) if name == "pipeline" else largest

    def given_up(self, pool: Pool) -> Iterator[Fix]:
        """What the caller insists on, one kind after the other, as the smallest plan has it."""
        kinds = (*((name,) for name in OTHERS), DEGREES)
        for names in (*kinds, [name for kind in kinds for name in kind]):
            given = [name for name in names if getattr(self.constraints, name) is not None]
            fit = self._fit(dict.fromkeys(given), pool) if given else None
            if fit is not None:
                changed = self._as_planned(given, fit)
                detail = f"On {fit.split.devices:,} {pool.accelerator.id} it fits."
                yield constrained(changed, detail)
        yield from self.unreserved(pool.accelerator.id)
        yield from self.other_accelerators()

    def _as_planned(self, given: Sequence[str], fit: Fit) -> Changed:
        others = {"max_accelerators": fit.split.devices, "node_loss": None}
        planned = {
            name: others[name] if name in others else getattr(fit.split, name) for name in given
        }
        return {n: value for n, value in planned.items() if value != getattr(self.constraints, n)}

    def unreserved(self, accelerator: str) -> Iterator[Fix]:
        """All devices of a type, what the caller reserves among them."""
        pool = self.finder.unreserved.get(accelerator)
        constraints = msgspec.structs.replace(self.constraints, reserved=None)
        fit = None if pool is None else self.finder.best(constraints, pool)
        if fit is not None:
            detail = f"With nothing reserved it fits, on {fit.split.devices:,} {accelerator}."
            yield constrained({"reserved": None}, detail)

    def other_accelerators(self) -> Iterator[Fix]:
        """The accelerators of the inventory that the caller left out."""
        changed = msgspec.structs.replace(self.constraints, accelerators=None)
        others = self.finder.others.values()
        fitting = [pool.accelerator.id for pool in others if self.finder.has_any(changed, pool)]
        if fitting:
            yield constrained({"accelerators": fitting}, f"On {' or '.join(fitting)} it fits.")
        elif others and not self.finder.pools:
            names = list(self.finder.others)
            detail = f"There is {' and '.join(names)}; more is needed to fit."
            yield constrained({"accelerators": names}, detail, verified=False)

    def _fits(self, changed: Changed, pool: Pool) -> bool:
        return self.finder.has_any(msgspec.structs.replace(self.constraints, **changed), pool)

    def _fit(self, changed: Changed, pool: Pool) -> Fit | None:
        return self.finder.best(msgspec.structs.replace(self.constraints, **changed), pool)


def _instead(
    own: Mapping[str, int], other: Mapping[str, int], verdict: str, *, verified: bool
) -> Fix:
    """Other degrees instead of a split's own; all that differ are named."""
    changed = {name: degree for name, degree in other.items() if degree != own[name]}
    before = {name: own[name] for name in changed}
    fix = constrained(changed, f"{named(changed)} instead of {named(before)} {verdict}")
    patch = {"constraints": dict(other)}
    return msgspec.structs.replace(fix, verified=verified, patch=patch)
