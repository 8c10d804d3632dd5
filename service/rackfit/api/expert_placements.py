"""`/v1/expert-placements`: put a model's experts on ranks by their measured load."""

from collections.abc import Mapping
from typing import Any

import msgspec

from rackfit.api.operation import Context, Operation
from rackfit.api.text import expert_placements as text
from rackfit.balancing.question import PlacementAnswer, PlacementRequest
from rackfit.engines import PLACED, placement_writer
from rackfit.engines.interface import Engine
from rackfit.errors import InvalidInput, unknown_name


def place_experts(
    context: Context, _path: Mapping[str, str], _query: None, body: PlacementRequest
) -> PlacementAnswer:
    """Place experts, and write that for the engines asked for."""
    # numpy takes a fifth of a second to import: only the process that computes needs it.
    from rackfit.balancing.answer import answer_placement  # noqa: PLC0415

    engines = [_engine(at, name) for at, name in enumerate(body.formats)]
    answer = answer_placement(body, context.expired)
    return msgspec.structs.replace(answer, formats=_written(body, answer, engines))


def _engine(at: int, name: str) -> type[Engine]:
    engine = placement_writer(name)
    if engine is None:
        what = "engine that takes an expert placement"
        raise InvalidInput(unknown_name(f"/formats/{at}", what, name, PLACED))
    return engine


def _written(
    body: PlacementRequest, answer: PlacementAnswer, engines: list[type[Engine]]
) -> dict[str, Any] | None:
    """Write a placement as each of `engines` takes it; None where there are none."""
    slots = [layer.slot_to_expert for layer in answer.layers]
    experts = len(answer.layers[0].expert_to_slots)
    written = {
        engine.name: engine.expert_placement(slots, experts, body.first_layer) for engine in engines
    }
    return written or None


PLACE_EXPERTS = Operation(
    id="place_experts",
    method="POST",
    path="/v1/expert-placements",
    scope="plan",
    tag="experts",
    summary="Put experts on ranks by their load",
    description=(
        "Replicas for every expert and a slot for every replica, so that the ranks of each layer "
        "are loaded as evenly as can be; how even that is, and a proof of how even it could be. "
        "From a current placement it moves only what is worth its price. An answer cut short by "
        "the deadline says `complete: false` and has no ETag."
    ),
    run=place_experts,
    answer=PlacementAnswer,
    text=text.placement_answer,
    body=PlacementRequest,
    body_limit="plan_body_limit_bytes",
    heavy=True,
    is_complete=lambda answer: answer.complete,
)
OPERATIONS = (PLACE_EXPERTS,)
