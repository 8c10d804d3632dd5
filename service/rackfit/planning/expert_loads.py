"""Measured loads of a plan's experts: how even they can be put on its expert ranks."""

from collections.abc import Callable, Sequence

from rackfit.architecture.model import ExpertFeedForward
from rackfit.balancing.question import Balance, Layers, PlacementAnswer, PlacementRequest
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.errors import InvalidInput, Violation

FIELD = "/expert_loads"
FIELDS = {"loads": FIELD, "redundant_experts": "/engine/redundant_experts"}
"""Where a plan request has the fields of a placement request; the others are not its caller's."""

NOT_PLACED = (
    "Estimates are of experts placed by `expert_loads`, which the commands of `launch` do not do: "
    "an engine starts with equal ranges, and is slower until it has rebalanced or is given the map "
    "of POST /v1/expert-placements (its `formats`)."
)


class ExpertLoads:
    """Places the experts of one model on any number of ranks, each number once.

    Args:
        loads: how much each expert was used, by layer and expert.
        redundant: slots beyond one for each expert.
        expired: tells whether the time is over.
    """

    def __init__(self, loads: Layers, redundant: int, expired: Callable[[], bool]) -> None:
        self._loads = loads
        self._redundant = redundant
        self._expired = expired
        self._placed: dict[int, PlacementAnswer | None] = {1: None}

    def check(self, model: ServedModel) -> None:
        """See that these are loads, and of this model.

        Raises:
            InvalidInput: with a pointer to what is wrong.
        """
        layers = [model.kinds[kind].feed_forward for kind in model.order]
        mixtures = [each for each in layers if isinstance(each, ExpertFeedForward)]
        if not mixtures:
            raise InvalidInput.at(FIELD, "A dense model has no experts.")
        if len(self._loads) != len(mixtures):
            detail = f"{len(self._loads)} layers, where the model has experts in {len(mixtures)}."
            raise InvalidInput.at(FIELD, detail)
        experts = mixtures[0].experts
        if len(self._loads[0]) != experts:
            detail = f"{len(self._loads[0])} experts, where the model has {experts}."
            raise InvalidInput.at(f"{FIELD}/0", detail)
        try:
            self._answer(experts + self._redundant)  # a slot a rank divides whatever there is
        except InvalidInput as error:
            raise InvalidInput(*_of_plan(error.violations)) from None

    def balance(self, ranks: int) -> Balance | None:
        """Balancedness of the experts on so many ranks; None if slots are not spread evenly."""
        placed = self._on(ranks)
        return None if placed is None else placed.balancedness

    def excess(self, ranks: int) -> float | None:
        """What the fullest rank gets over the mean, on average over layers."""
        placed = self._on(ranks)
        if placed is None:
            return None
        return sum(1 / layer.balancedness for layer in placed.layers) / len(placed.layers)

    def _on(self, ranks: int) -> PlacementAnswer | None:
        if ranks not in self._placed:
            even = (len(self._loads[0]) + self._redundant) % ranks == 0
            self._placed[ranks] = self._answer(ranks) if even else None
        return self._placed[ranks]

    def _answer(self, ranks: int) -> PlacementAnswer:
        # numpy takes a fifth of a second to import: only who names loads needs it.
        from rackfit.balancing.answer import answer_placement  # noqa: PLC0415

        request = PlacementRequest(
            ranks=ranks, loads=self._loads, redundant_experts=self._redundant, prove=False
        )
        return answer_placement(request, self._expired)


def _of_plan(violations: Sequence[Violation]) -> list[Violation]:
    """The same violations at the plan request's own fields."""
    return [Violation(_field(violation.pointer), violation.detail) for violation in violations]


def _field(pointer: str) -> str:
    """Where a plan request has what a placement request has at a pointer."""
    field, slash, rest = pointer.removeprefix("/").partition("/")
    return FIELDS.get(field, FIELD) + slash + rest


def read_loads(
    loads: Layers | None, model: ServedModel, engine: Engine, expired: Callable[[], bool]
) -> ExpertLoads | None:
    """The measured loads of a request, None where it has none.

    Raises:
        InvalidInput: they are not loads of this model.
    """
    if loads is None:
        return None
    found = ExpertLoads(loads, engine.choice.redundant_experts, expired)
    found.check(model)
    return found
