"""`/v1/recommendations`: find the right accelerators for a workload."""

from collections.abc import Mapping

from rackfit.api.models import check_model
from rackfit.api.operation import Context, Operation
from rackfit.api.text import recommendations as text
from rackfit.planning.recommendation import (
    RecommendationAnswer,
    RecommendationRequest,
    recommend,
)


def answer_recommendation(
    context: Context, _path: Mapping[str, str], _query: None, body: RecommendationRequest
) -> RecommendationAnswer:
    """Plan on every accelerator that comes into question."""
    check_model(body.model)
    return recommend(
        body,
        context.catalog,
        device_reserve=context.settings.device_reserve,
        expired=context.expired,
        tables=context.tables,
    )


CREATE_RECOMMENDATION = Operation(
    id="create_recommendation",
    method="POST",
    path="/v1/recommendations",
    scope="plan",
    tag="plans",
    summary="Find the right accelerators for a workload",
    description=(
        "No inventory: every accelerator of the catalog is planned on its usual nodes, and those "
        "that serve the workload are listed with how many it takes, their split and, where "
        "`prices` are given, what they cost, cheapest first; without prices by the memory bought. "
        "`unsuitable` says why the others do not do."
    ),
    run=answer_recommendation,
    answer=RecommendationAnswer,
    text=text.recommendation_answer,
    body=RecommendationRequest,
    heavy=True,
    is_complete=lambda answer: answer.complete,
)
OPERATIONS = (CREATE_RECOMMENDATION,)
