"""Reads what `scontrol show nodes --detail` prints, as text or with `--json`.

A node has free what its GRES configures less what jobs hold. With `--detail` Slurm tells which
devices those are, and they keep their numbers; without it only how many. Nodes that take no new
job (down, drained, in maintenance, reserved, powered down) are left out. Sources: scontrol(1),
slurm.conf(5).
"""

from collections.abc import Iterator

from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.reading import MAX_DEVICES, MAX_NAME, Products, Resolve
from rackfit.inventory.slurm_records import (
    COMMAND,
    MAX_KINDS,
    Gres,
    Held,
    Record,
    Usage,
    gres,
    parse,
)

USABLE = {"IDLE", "MIXED", "ALLOCATED", "PLANNED"}
"""States in which a node takes jobs, now or when what it has is done."""

CLOSED = {
    "DRAIN": "drained",
    "DRAINING": "drained",
    "DRAINED": "drained",
    "FAIL": "failing",
    "FAILING": "failing",
    "MAINTENANCE": "in maintenance",
    "MAINT": "in maintenance",
    "NOT_RESPONDING": "not responding",
    "POWERED_DOWN": "powered down",
    "POWERING_DOWN": "powered down",
    "POWER_DOWN": "powered down",
    "REBOOT_ISSUED": "rebooting",
    "RESERVED": "reserved",
    "INVALID_REG": "registered wrongly",
}
"""What else a state may say that keeps jobs off, and how that is told."""


def read(text: str, resolve: Resolve, node: str | None) -> Inventory:
    """Read a cluster's nodes; see `normalize` for the arguments and errors."""
    if node is not None:
        raise InvalidInput.at("?node", "Slurm names its nodes itself: leave `node` out.")
    records = parse(text)
    products = Products(resolve)
    found = [one for record in records for one in _read(record, products)]
    nodes = [one for one in found if isinstance(one, Node)]
    return Inventory(
        nodes=nodes,
        skipped=[one for one in found if isinstance(one, Skipped)],
        warnings=[*_warn_of_numbers(records, nodes), *products.warnings],
    )


def _read(record: Record, products: Products) -> Iterator[Node | Skipped]:
    """Read one node: a node of the inventory for each type of device, or why not."""
    devices = _devices(record)
    closed = _closed(record.state)
    if not devices:
        yield Skipped(record.name, "no GRES of the name gpu")
    elif closed:
        yield Skipped(record.name, closed)
    else:
        usage = Usage.of(record)
        for place, one in enumerate(devices):
            yield _node(record, one, usage.held(one), place, products)


def _devices(record: Record) -> list[Gres]:
    kinds = gres(record.gres)
    if len(kinds) > MAX_KINDS:
        told = f"{len(kinds):,} kinds of GRES on the node {record.name!r:.80}"
        raise InvalidInput.at(record.pointer, f"{told} are more than {MAX_KINDS}.")
    return [one for one in kinds if one.name == "gpu"]


def _closed(state: str) -> str | None:
    """Say why a node takes no jobs; None where it does."""
    base, *flags = state.upper().split("+")
    said = [CLOSED[flag] for flag in flags if flag in CLOSED]
    if base.endswith("*"):
        said.append("not responding")
    plain = base.rstrip("*~#!%$@^-")
    if plain in CLOSED:
        said.insert(0, CLOSED[plain])
    elif plain not in USABLE:
        said.insert(0, plain.lower() or "of no state")
    return ", ".join(dict.fromkeys(said)) or None


def _node(record: Record, one: Gres, used: Held, place: int, products: Products) -> Node | Skipped:
    """Make a node of devices of one type; of several types the first has the host's name."""
    if one.type is None:
        return Skipped(record.name, f"GRES gpu:{one.count} names no type")
    accelerator = products.find(one.type)
    if isinstance(accelerator, str):
        return Skipped(record.name, accelerator)
    if used.count >= one.count:
        return Skipped(record.name, f"all {one.count} gpu:{one.type} are held by jobs")
    if one.count > MAX_DEVICES:
        detail = f"{one.count:,} devices on one node are more than {MAX_DEVICES:,}."
        raise InvalidInput.at(record.pointer, detail)
    name = f"{record.name}/{one.type}" if place else record.name
    if len(name) > MAX_NAME:
        raise InvalidInput.at(record.pointer, f"A node's name is over {MAX_NAME} characters.")
    if used.numbers is None:
        return Node(name=name, accelerator=accelerator.id, count=one.count - used.count)
    usable = accelerator.usable_bytes
    free = [0 if number in used.numbers else usable for number in range(one.count)]
    return Node(
        name=name,
        accelerator=accelerator.id,
        count=one.count,
        free_bytes=free if used.count else None,
    )


def _warn_of_numbers(records: list[Record], nodes: list[Node]) -> list[str]:
    """Say that nobody knows which devices of a node in part use are free."""
    kept = {node.name.partition("/")[0] for node in nodes}
    unknown = [r.name for r in records if r.name in kept and _has_unknown_numbers(r)]
    if not unknown:
        return []
    more = f" and {len(unknown) - 1:,} more" if unknown[1:] else ""
    warning = (
        f"Jobs hold some devices of {unknown[0]}{more}. Slurm did not tell which, so a plan counts "
        f"the free ones from 0: `{COMMAND}` tells."
    )
    return [warning]


def _has_unknown_numbers(record: Record) -> bool:
    usage = Usage.of(record)
    return any(usage.held(one).numbers is None for one in _devices(record))
