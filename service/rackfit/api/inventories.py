"""`/v1/inventories`: what other tools print, as an inventory a plan takes unchanged."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from rackfit.api.operation import JSON, TEXT, Context, Operation
from rackfit.api.text import inventories as text
from rackfit.inventory.model import Inventory, Label
from rackfit.inventory.normalize import normalize


class NormalizeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What printed the body."""

    format: Annotated[
        str,
        Meta(
            max_length=80,
            description=(
                "`kubernetes` for `kubectl get nodes,pods -A -o json`, `slurm` for `scontrol show "
                "nodes --detail` (or with `--json`), `csv` for a table whose first line names its "
                "columns (name, accelerator, count, free_bytes, domain, rack, fabric), "
                "`nvidia-smi` for "
                "`nvidia-smi --query-gpu=index,name,memory.total,memory.used,mig.mode.current "
                "--format=csv`, the last column of which may be left out."
            ),
        ),
    ]
    node: Annotated[
        Label | None, Meta(description="The host's name, where the format does not tell it.")
    ] = None


def normalize_inventory(
    context: Context, _path: Mapping[str, str], query: NormalizeQuery, body: bytes
) -> Inventory:
    """Read another tool's output."""
    return normalize(query.format, body, context.catalog.accelerator, node=query.node)


NORMALIZE_INVENTORY = Operation(
    id="normalize_inventory",
    method="POST",
    path="/v1/inventories/normalize",
    scope="plan",
    tag="inventories",
    summary="Read another tool's output as an inventory",
    description=(
        "Nodes with their accelerators and free memory, and what was left out and why: nodes "
        "that are cordoned, not Ready or tainted, devices that are divided or shared. A node "
        "tainted `nvidia.com/gpu` (or with the name of another vendor's resource) is kept with "
        "a warning, since pods that ask for GPUs tolerate that taint by convention. "
        "`POST /v1/plans` takes the answer unchanged as its `inventory`."
    ),
    run=normalize_inventory,
    answer=Inventory,
    text=text.inventory,
    query=NormalizeQuery,
    body=bytes,
    body_media_types=(JSON, TEXT, "text/csv"),
    body_limit="plan_body_limit_bytes",
    heavy=True,
    cacheable=False,  # a cluster's state carries timestamps: no two bodies are alike
)
OPERATIONS = (NORMALIZE_INVENTORY,)
