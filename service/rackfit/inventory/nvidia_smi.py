"""Reads what `nvidia-smi --query-gpu=index,name,memory.total,memory.used --format=csv` prints.

The output does not name its host: the `node` query parameter does. A host with several
products becomes a node for each, since a node has one type of accelerator.
"""

from collections.abc import Sequence

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.nvidia_smi_table import Gpu, parse
from rackfit.inventory.reading import MAX_DEVICES, MAX_NAME, Products, Resolve

_DRIVER_RESIDUE_BYTES = 64 << 20
"""Up to this much in use is the driver's own, and the GPU is idle."""


class _Product(msgspec.Struct, frozen=True):
    """The host's GPUs of one product, in the order printed."""

    accelerator: Accelerator
    gpus: list[Gpu]


def read(text: str, resolve: Resolve, node: str | None) -> Inventory:
    """Read one host's GPUs; see `normalize` for the arguments and errors."""
    if not node or len(node) > MAX_NAME:
        detail = f"nvidia-smi does not name its host: give `node`, 1 to {MAX_NAME} characters."
        raise InvalidInput.at("?node", detail)
    printed = parse(text)
    catalog = Products(resolve)
    skipped, products = _by_product(node, printed.gpus, catalog)
    nodes = [_node(node, place, product) for place, product in enumerate(products)]
    warnings = [
        *printed.remarks,
        *_warn_of_several(node, nodes),
        *_warn_of_indexes(nodes, products),
        *_warn_of_unknown_use(printed.gpus),
        *catalog.warnings,
    ]
    lost = [Skipped(node, sentence) for sentence in printed.lost]
    return Inventory(nodes=nodes, skipped=[*lost, *skipped], warnings=warnings)


def _by_product(
    host: str, gpus: Sequence[Gpu], catalog: Products
) -> tuple[list[Skipped], list[_Product]]:
    """Group the usable GPUs by product, and say why the others are not usable."""
    skipped: list[Skipped] = []
    products: dict[str, _Product] = {}
    for gpu in gpus:
        usable = gpu.defect or catalog.find(gpu.name)
        if isinstance(usable, str):
            skipped.append(Skipped(host, f"GPU {gpu.index}: {usable}"))
            continue
        products.setdefault(usable.id, _Product(usable, [])).gpus.append(gpu)
        if gpu.total_bytes is not None:
            catalog.compare_memory(usable, gpu.total_bytes)
    return skipped, list(products.values())


def _node(host: str, place: int, product: _Product) -> Node:
    """Make the host's `place`-th product a node: the first has the host's own name."""
    accelerator, gpus = product.accelerator, product.gpus
    name = f"{host}/{accelerator.id}" if place else host
    if len(name) > MAX_NAME:
        raise InvalidInput.at("?node", f"The node name {name!r} is over {MAX_NAME} characters.")
    if len(gpus) > MAX_DEVICES:
        detail = f"{len(gpus):,} GPUs on one host are more than {MAX_DEVICES:,}."
        raise InvalidInput.at("", detail)
    return Node(
        name=name,
        accelerator=accelerator.id,
        count=len(gpus),
        free_bytes=_free_bytes(accelerator, gpus),
    )


def _free_bytes(accelerator: Accelerator, gpus: Sequence[Gpu]) -> list[int] | None:
    """Return the free memory of each GPU; None if all are idle or use is not known."""
    free = [_free(accelerator, gpu) for gpu in gpus]
    idle = accelerator.usable_bytes - _DRIVER_RESIDUE_BYTES
    return None if all(each >= idle for each in free) else free


def _free(accelerator: Accelerator, gpu: Gpu) -> int:
    """Return a GPU's free memory in bytes: the driver's own figure, or total less used.

    It is held to the catalog's total: with ECC off a GPU has more, and a plan refuses that.
    """
    most = accelerator.reported_bytes or accelerator.usable_bytes
    if gpu.free_bytes is not None:
        return min(gpu.free_bytes, most)
    total_bytes = most if gpu.total_bytes is None else gpu.total_bytes
    return min(max(0, total_bytes - (gpu.used_bytes or 0)), most)


def _warn_of_several(host: str, nodes: Sequence[Node]) -> list[str]:
    """Say that a host with several products stands as several nodes."""
    if not nodes[1:]:
        return []
    names = ", ".join(repr(node.name) for node in nodes)
    return [f"{host} has {len(nodes)} products, and a node has one: they are the nodes {names}."]


def _warn_of_indexes(nodes: Sequence[Node], products: Sequence[_Product]) -> list[str]:
    """Say which GPUs a node's devices are, where they are not the host's first in order."""
    indexes = [[gpu.index for gpu in product.gpus] for product in products]
    return [
        f"Devices 0 to {node.count - 1} of {node.name} are the host's GPUs "
        f"{', '.join(map(str, each))}."
        for node, each in zip(nodes, indexes, strict=True)
        if each != list(range(node.count))
    ]


def _warn_of_unknown_use(gpus: Sequence[Gpu]) -> list[str]:
    """Say that without a column on memory in use every GPU looks free."""
    if any(gpu.used_bytes is not None or gpu.free_bytes is not None for gpu in gpus):
        return []
    return ["Neither memory.used nor memory.free is listed, so GPUs in use look free."]
