"""`/v1/plans`: fit a model on an inventory."""

from collections.abc import Mapping

from rackfit.api.models import check_model
from rackfit.api.operation import Context, Operation, Search
from rackfit.api.text import plans as text
from rackfit.planning.plan import plan
from rackfit.planning.question import PlanAnswer, PlanRequest


def answer_plan(
    context: Context, _path: Mapping[str, str], _query: None, body: PlanRequest
) -> PlanAnswer:
    """Search for plans until there is no better one or the time is up."""
    check_model(body.model)
    return plan(
        body,
        context.catalog,
        device_reserve=context.settings.device_reserve,
        expired=context.expired,
        tables=context.tables,
    )


def as_search(answer: PlanAnswer) -> Search:
    """Tell the metrics what a search did."""
    if not answer.complete:
        return Search("incomplete", answer.splits_evaluated)
    return Search("feasible" if answer.feasible else "infeasible", answer.splits_evaluated)


CREATE_PLAN = Operation(
    id="create_plan",
    method="POST",
    path="/v1/plans",
    scope="plan",
    tag="plans",
    summary="Fit a model on an inventory",
    description=(
        "Every legal split of the model over the inventory's nodes, best first, with each rank "
        "on a named node and device, and every rejected split with its reason and nearest fix. "
        "An inventory too small is a 200 with `feasible: false` and the shortfall. A search cut "
        "short by the deadline says `complete: false` and has no ETag."
    ),
    run=answer_plan,
    answer=PlanAnswer,
    text=text.plan_answer,
    body=PlanRequest,
    body_limit="plan_body_limit_bytes",
    heavy=True,
    is_complete=lambda answer: answer.complete,
    search=as_search,
)
OPERATIONS = (CREATE_PLAN,)
