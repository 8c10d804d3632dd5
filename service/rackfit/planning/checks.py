"""What a request must say, and must not, before anything is searched for."""

from rackfit.engines.interface import Engine
from rackfit.errors import InvalidInput
from rackfit.planning.question import PlanRequest


def check_disaggregated(request: PlanRequest, engine: Engine) -> None:
    """See that a request says what plans of two kinds of replicas need, and nothing else.

    Raises:
        InvalidInput: no typical request, constraints on the replicas of a plan of one kind, or an
            engine whose replicas do all of it.
    """
    workload, constraints = request.workload, request.constraints
    if not engine.disaggregates:
        detail = f"{engine.name} has no replicas that only read prompts: leave this out."
        raise InvalidInput.at("/disaggregate", detail)
    for name in ("input_tokens", "output_tokens"):
        if getattr(workload, name) is None:
            detail = "With `disaggregate` a typical request is needed: how many tokens come and go."
            raise InvalidInput.at(f"/workload/{name}", detail)
    for name in ("replicas", "node_loss"):
        if getattr(constraints, name) is not None:
            detail = "With `disaggregate` there are two kinds of replicas: leave this out."
            raise InvalidInput.at(f"/constraints/{name}", detail)
