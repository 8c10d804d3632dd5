"""`/v1/accelerators`: what the catalog knows of hardware, by every name operators see."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from rackfit.api.answers import AcceleratorList
from rackfit.api.operation import Context, Operation
from rackfit.api.text import catalog as text
from rackfit.catalog.entries import Accelerator
from rackfit.errors import NotFound, UnknownName, Violation


class AcceleratorsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which accelerators to list."""

    vendor: Annotated[
        str, Meta(max_length=200, description="Only this vendor's, case aside: `nvidia`.")
    ] = ""
    kind: Annotated[
        str, Meta(max_length=200, description="`datacenter`, `workstation` or `consumer`.")
    ] = ""
    name: Annotated[
        str,
        Meta(max_length=200, description="The one that goes by this name: `h100`, a Slurm gres."),
    ] = ""


def list_accelerators(
    context: Context, _path: Mapping[str, str], query: AcceleratorsQuery, _body: None
) -> AcceleratorList:
    """List the catalog's accelerators in order of id.

    Raises:
        UnknownName: no accelerator goes by the name, is of the vendor or of the kind.
    """
    warnings: tuple[str, ...] = ()
    found = tuple(context.catalog.accelerators.values())
    _check_known("vendor", query.vendor, (a.vendor for a in found))
    _check_known("kind", query.kind, (a.kind for a in found))
    if query.name:
        accelerator, warnings = context.catalog.accelerator(query.name, "?name")
        found = (accelerator,)
    return AcceleratorList(
        accelerators=tuple(a for a in found if _is_wanted(a, query)), warnings=tuple(warnings)
    )


def _check_known(parameter: str, wanted: str, values: Iterable[str]) -> None:
    """Refuse a filter that nothing in the catalog passes."""
    known = sorted(set(filter(None, values)))
    if wanted and wanted.casefold() not in map(str.casefold, known):
        detail = f"No accelerator is of the {parameter} {wanted!r}. Known: {', '.join(known)}."
        raise UnknownName(Violation(f"?{parameter}", detail))


def _is_wanted(accelerator: Accelerator, query: AcceleratorsQuery) -> bool:
    vendor = query.vendor.casefold() in ("", accelerator.vendor.casefold())
    return vendor and query.kind.casefold() in ("", accelerator.kind)


def get_accelerator(
    context: Context, path: Mapping[str, str], _query: None, _body: None
) -> Accelerator:
    """Show one accelerator, by any name that is not ambiguous."""
    try:
        accelerator, _ = context.catalog.accelerator(path["id"], "")
    except UnknownName as error:
        raise NotFound(str(error)) from error
    return accelerator


LIST_ACCELERATORS = Operation(
    id="list_accelerators",
    method="GET",
    path="/v1/accelerators",
    tag="catalog",
    summary="List the accelerators in the catalog",
    description=(
        "Accelerators in order of id. `name` resolves whatever operators see (nvidia-smi's "
        "name, a Slurm gres, `h100`) and says in `warnings` what was assumed. A vendor or kind "
        "that no accelerator is of is refused with those there are."
    ),
    run=list_accelerators,
    answer=AcceleratorList,
    text=text.accelerator_list,
    query=AcceleratorsQuery,
)
GET_ACCELERATOR = Operation(
    id="get_accelerator",
    method="GET",
    path="/v1/accelerators/{id}",
    tag="catalog",
    summary="Show one accelerator",
    description="Memory, bandwidths, speed and scale-up domain of one accelerator, with sources.",
    run=get_accelerator,
    answer=Accelerator,
    text=text.accelerator_detail,
)
OPERATIONS = (LIST_ACCELERATORS, GET_ACCELERATOR)
