"""`/v1/quantizations`: the schemes weights are stored in."""

from collections.abc import Mapping

from rackfit.api.answers import SchemeList
from rackfit.api.operation import Context, Operation
from rackfit.api.text import catalog as text


def list_quantizations(
    context: Context, _path: Mapping[str, str], _query: None, _body: None
) -> SchemeList:
    """List the catalog's quantization schemes in order of id."""
    return SchemeList(quantizations=context.catalog.quantizations)


LIST_QUANTIZATIONS = Operation(
    id="list_quantizations",
    method="GET",
    path="/v1/quantizations",
    tag="catalog",
    summary="List the quantization schemes",
    description="How each scheme stores a matrix of weights, and its published bits per weight.",
    run=list_quantizations,
    answer=SchemeList,
    text=text.scheme_list,
)
OPERATIONS = (LIST_QUANTIZATIONS,)
