"""An inventory: named nodes, their accelerators, and how they are joined."""

from typing import Annotated

import msgspec

from rackfit.catalog.entries import Accelerator, Bytes, Name

MAX_NODES = 200_000

NO_CONTROLS = msgspec.Meta(
    pattern=r"^(?![\s\S]*[\x00-\x1f\x7f-\x9f])", extra={"looks": "without control characters"}
)
"""What a name must be: NUL, line ends and other control characters are not in it."""

Label = Annotated[str, NO_CONTROLS, msgspec.Meta(min_length=1, max_length=253)]

_UNMATCHED = "Expected `str` matching regex"


def plainly(said: str) -> str:
    """Say without the pattern what msgspec says of a name with a control character in it."""
    is_pattern = said.startswith(_UNMATCHED)
    return "Expected a name without control characters" if is_pattern else said


class Node(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One machine with `count` accelerators of one type.

    `accelerator` is any name operators see, or an inline accelerator. `free_bytes` has one
    entry a device, left out where all are free. Nodes with the same `domain` share one
    scale-up domain (an NVL72 rack); left out, the node is a domain of its own. `rack` and
    `fabric` are the operator's labels.
    """

    name: Label
    accelerator: Name | Accelerator
    count: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    free_bytes: Annotated[list[Bytes], msgspec.Meta(max_length=1024)] | None = None
    domain: Label | None = None
    rack: Label | None = None
    fabric: Label | None = None


class Skipped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node, or part of one, that a reader left out, and why."""

    name: str
    reason: str


class Inventory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan may use. Readers of foreign formats return it with what they left out.

    A reader that could use nothing returns no nodes; a plan wants at least one.
    """

    nodes: Annotated[list[Node], msgspec.Meta(max_length=MAX_NODES)]
    skipped: list[Skipped] = []
    warnings: list[str] = []
