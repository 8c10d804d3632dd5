"""Inventories as text: what a plan may use, and what was left out and why."""

from rackfit.api.text.figures import NONE, count, things
from rackfit.api.text.table import Lines, page, paragraph, sentences, table
from rackfit.catalog.entries import Accelerator
from rackfit.inventory.model import Inventory, Node
from rackfit.memory.question import gib


def inventory(answer: Inventory) -> str:
    """A line a node; free GiB as least and most over its devices."""
    devices = sum(node.count for node in answer.nodes)
    return page(
        paragraph(f"{things(len(answer.nodes), 'node')}, {things(devices, 'accelerator')}"),
        table(("NODE", ">COUNT", "ACCELERATOR", ">FREE GiB", "DOMAIN"), map(_node, answer.nodes)),
        _skipped(answer),
        sentences("Warnings", answer.warnings),
    )


def _node(node: Node) -> tuple[str, ...]:
    named = node.accelerator
    name = named.id if isinstance(named, Accelerator) else named
    return (node.name, count(node.count), name, _free(node), node.domain or NONE)


def _free(node: Node) -> str:
    if not node.free_bytes:
        return "all"
    least, most = gib(min(node.free_bytes)), gib(max(node.free_bytes))
    return least if least == most else f"{least}-{most}"


def _skipped(answer: Inventory) -> Lines:
    rows = [(skipped.name, skipped.reason) for skipped in answer.skipped]
    return table(("LEFT OUT", "REASON"), rows) if rows else []
