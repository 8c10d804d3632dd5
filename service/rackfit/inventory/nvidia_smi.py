"""Reads what `nvidia-smi --query-gpu=index,name,memory.total,memory.used --format=csv` prints.

With the column `mig.mode.current` too, GPUs divided into MIG instances are left out; without
it they look whole, and the answer says so.

The output does not name its host: the `node` query parameter does. A host with several
products becomes a node for each, since a node has one type of accelerator.
"""

from collections.abc import Collection, Sequence

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.nvidia_smi_table import MIG_COLUMN, QUERY, Gpu, parse
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
        *_warn_of_unified_memory(products),
        *_warn_of_unknown_use(printed.columns),
        *_warn_of_mig(printed.columns, products),
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
        usable = _usable(gpu, catalog)
        if isinstance(usable, str):
            skipped.append(Skipped(host, f"GPU {gpu.index}: {usable}"))
        else:
            products.setdefault(usable.id, _Product(usable, [])).gpus.append(gpu)
    return skipped, list(products.values())


def _usable(gpu: Gpu, catalog: Products) -> Accelerator | str:
    """Return what a GPU is in the catalog, or say why it cannot be used."""
    if gpu.defect:
        return gpu.defect
    found = catalog.find(gpu.name, gpu.total_bytes)
    if isinstance(found, str) or not gpu.unsupported or found.unified_memory:
        return found
    return gpu.unsupported


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
    most = accelerator.printed_bytes
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
        _mapped(node, each)
        for node, each in zip(nodes, indexes, strict=True)
        if each != list(range(node.count))
    ]


def _mapped(node: Node, indexes: Sequence[int]) -> str:
    if node.count == 1:
        return f"Device 0 of {node.name} is the host's GPU {indexes[0]}."
    listed = ", ".join(map(str, indexes))
    return f"Devices 0 to {node.count - 1} of {node.name} are the host's GPUs {listed}."


def _warn_of_unified_memory(products: Sequence[_Product]) -> list[str]:
    """Say that a GPU whose memory nobody tells, the CPU's too, is taken for the catalog's."""
    return [
        f"nvidia-smi does not tell the memory of {product.accelerator.id}, which its CPU uses "
        f"too: the catalog's {product.accelerator.usable_bytes / (1 << 30):.1f} GiB are taken "
        "for free. Set `free_bytes` where less is."
        for product in products
        if any(gpu.unsupported for gpu in product.gpus)
    ]


def _warn_of_unknown_use(columns: Collection[str]) -> list[str]:
    """Say that without a column on memory in use every GPU looks free."""
    if {"memory.used", "memory.free"}.intersection(columns):
        return []
    return ["Neither memory.used nor memory.free is listed, so GPUs in use look free."]


def _warn_of_mig(columns: Collection[str], products: Sequence[_Product]) -> list[str]:
    """Say that GPUs divided into MIG instances look whole without the column that tells."""
    if MIG_COLUMN in columns or not any(product.accelerator.mig for product in products):
        return []
    return [f"{MIG_COLUMN} is not listed, so a GPU with MIG enabled looks whole: `{QUERY}`."]
