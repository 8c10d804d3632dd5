"""Reads what `kubectl get nodes,pods -A -o json` prints.

A node has free what is allocatable less what bound pods request. Only whole devices count:
MIG instances, AMD partitions and shared GPUs are left out, and so are nodes that would
refuse a new pod: cordoned, not Ready, or tainted. One taint is no refusal: that named like the
devices' own resource (`nvidia.com/gpu`) keeps off pods that want no devices, and Kubernetes'
ExtendedResourceToleration admission plugin adds its toleration to those that do.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from rackfit.catalog.entries import MEMORY_TOLERANCE, Accelerator
from rackfit.errors import InvalidInput, escaped
from rackfit.inventory import kubernetes_labels as labelled
from rackfit.inventory.kubernetes_labels import RESOURCES, Resource
from rackfit.inventory.kubernetes_objects import NodeObject, PodObject, decode
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.reading import (
    MAX_DEVICES,
    Products,
    Resolve,
)

_NO_GPU = "no GPU resources"
_NO_PODS = (
    "No Pod is listed, so GPUs that pods use look free: "
    "`kubectl get nodes,pods -A -o json` lists both."
)
_PREFERENCE = "PreferNoSchedule"
_RESOURCE_NAMES = tuple(resource.name for resource in RESOURCES)

Requested = Counter[tuple[str, str]]
"""Devices that pods hold, by node name and resource name."""


class _Cluster(msgspec.Struct, frozen=True):
    """What the body lists: nodes and the pointers to them, and what pods hold."""

    nodes: list[tuple[str, NodeObject]]
    requested: Requested
    has_pods: bool


class _Devices(msgspec.Struct, frozen=True):
    """One vendor's devices on one node.

    Of `capacity` devices `allocatable` may be handed out and `requested` are; `parts` names
    what counts parts of devices. `pointer` is where the node stands in the body.
    """

    node: NodeObject
    pointer: str
    resource: Resource
    capacity: int
    allocatable: int
    requested: int
    parts: str


def read(text: str, resolve: Resolve, node: str | None) -> Inventory:
    """Read a cluster's nodes and pods; see `normalize` for the arguments and errors."""
    if node is not None:
        raise InvalidInput.at("?node", "Kubernetes names its nodes itself: leave `node` out.")
    cluster = _gather(text)
    products = Products(resolve)
    found = [one for each in cluster.nodes for one in _read(*each, cluster.requested, products)]
    nodes = [one for one in found if isinstance(one, Node)]
    skipped = _summarised([one for one in found if isinstance(one, Skipped)])
    warnings = [
        *([] if cluster.has_pods else [_NO_PODS]),
        *_warn_of_tolerated(nodes, cluster),
        *_warn_of_indexes(nodes, cluster),
        *products.warnings,
    ]
    return Inventory(nodes=nodes, skipped=skipped, warnings=warnings)


def _gather(text: str) -> _Cluster:
    """Collect nodes and add up requests; a pod may stand before its node."""
    nodes: list[tuple[str, NodeObject]] = []
    requested: Requested = Counter()
    has_pods = False
    for pointer, item in decode(text):
        if isinstance(item, NodeObject):
            nodes.append((pointer, item))
        else:
            has_pods = True
            _add_requests(requested, item, pointer)
    _check_names(nodes)
    return _Cluster(nodes, requested, has_pods)


def _add_requests(requested: Requested, pod: PodObject, pointer: str) -> None:
    """Add what a pod holds of its node's devices."""
    if pod.node_name is None:
        return
    for resource in _RESOURCE_NAMES:
        held = pod.spec.requested(resource, f"{pointer}/spec")
        if held:
            requested[pod.node_name, resource] += held


def _check_names(nodes: Sequence[tuple[str, NodeObject]]) -> None:
    """Refuse a list without nodes, and a name that stands for two."""
    if not nodes:
        detail = "No Node is listed: send what `kubectl get nodes,pods -A -o json` prints."
        raise InvalidInput.at("/items", detail)
    seen: set[str] = set()
    for pointer, node in nodes:
        if node.name in seen:
            detail = f"The node {node.name!r} is listed twice."
            raise InvalidInput.at(f"{pointer}/metadata/name", detail)
        seen.add(node.name)


def _read(
    pointer: str, node: NodeObject, requested: Requested, products: Products
) -> Iterator[Node | Skipped]:
    """Read one node: what of it can be planned on, and what cannot and why."""
    devices = [_devices(node, pointer, resource, requested) for resource in RESOURCES]
    present = [each for each in devices if _is_present(each)]
    refusals = _refusals(node)
    if not present:
        yield Skipped(node.name, _NO_GPU)
    elif refusals:
        yield Skipped(node.name, "; ".join(refusals))
    else:
        first, *others = present
        yield from _read_devices(first, products)
        for other in others:
            reason = f"{other.resource.name} beside {first.resource.name}: a node has one type"
            yield Skipped(node.name, reason)


def _devices(node: NodeObject, pointer: str, resource: Resource, requested: Requested) -> _Devices:
    return _Devices(
        node=node,
        pointer=pointer,
        resource=resource,
        capacity=node.capacity(resource.name, pointer),
        allocatable=node.allocatable(resource.name, pointer),
        requested=requested[node.name, resource.name],
        parts=labelled.parts_of_devices(resource, node.status.allocatable or {}),
    )


def _is_present(devices: _Devices) -> bool:
    """Tell whether the node has, or by its labels should have, a vendor's devices."""
    labels = devices.resource.product_labels
    counted = devices.allocatable or devices.capacity or devices.parts
    return bool(counted) or any(label in devices.node.labels for label in labels)


def _refusals(node: NodeObject) -> list[str]:
    """List why a node would refuse a new pod that wants its devices."""
    state = ["cordoned"] if node.spec.unschedulable else []
    conditions = node.status.conditions or []
    ready = next((each for each in conditions if each.type == "Ready"), None)
    if ready is None or ready.status != "True":
        state.append(f"not Ready ({(ready and ready.reason) or 'no Ready condition'})")
    taints = [
        f"tainted {taint}"
        for taint in node.taints
        if taint.effect != _PREFERENCE and taint.key not in _RESOURCE_NAMES
        # Kubernetes adds a taint of its own for each such state.
        if not (state and taint.key.startswith("node.kubernetes.io/"))
    ]
    return state + taints


def _read_devices(devices: _Devices, products: Products) -> Iterator[Node | Skipped]:
    """Read a vendor's devices on a node that takes pods."""
    name, noun = devices.node.name, devices.resource.noun
    if devices.parts:
        reason = f"only whole {noun} are planned on, no MIG instances, partitions or shares"
        yield Skipped(name, f"{reason} ({devices.parts})")
    if devices.parts and not devices.allocatable:
        return
    obstacle = _obstacle(devices)
    if obstacle:
        yield Skipped(name, obstacle)
        return
    withheld = devices.capacity - devices.allocatable
    if withheld > 0:
        whole = f"{withheld} of {devices.capacity} {noun}"
        yield Skipped(name, f"{whole} cannot be allocated: unhealthy or held back")
    yield _name_product(devices, products)


def _obstacle(devices: _Devices) -> str | None:
    """Say why none of the devices can be used; None if some can."""
    resource, allocatable = devices.resource, devices.allocatable
    shared = labelled.sharing(devices.node.labels, resource, allocatable)
    if shared:
        return shared
    if not allocatable:
        return f"no {resource.name} is allocatable: is its device plugin running?"
    if allocatable > MAX_DEVICES:
        pointer = f"{devices.pointer}/status/allocatable/{escaped(resource.name)}"
        detail = f"{allocatable:,} devices on one node are more than {MAX_DEVICES:,}."
        raise InvalidInput.at(pointer, detail)
    if devices.requested >= allocatable:
        return f"all {allocatable} {resource.noun} are requested by pods"
    return None


def _name_product(devices: _Devices, products: Products) -> Node | Skipped:
    """Make the free devices a node of the inventory, if the catalog knows them."""
    name, labels, resource = devices.node.name, devices.node.labels, devices.resource
    product = labelled.product(labels, resource)
    if product is None:
        label = resource.product_labels[0]
        return Skipped(name, f"no label ({label}) names the product of its {resource.noun}")
    memory_bytes = labelled.memory_bytes(labels)
    accelerator = products.find(product, memory_bytes)
    if isinstance(accelerator, str):
        return Skipped(name, accelerator)
    count = devices.allocatable - devices.requested
    return Node(
        name=name,
        accelerator=accelerator.id,
        count=count,
        free_bytes=_free_bytes(accelerator, count, memory_bytes),
        domain=labelled.domain(labels),
        rack=labelled.rack(labels),
    )


def _free_bytes(accelerator: Accelerator, count: int, memory_bytes: int | None) -> list[int] | None:
    """Return free memory for each of `count` devices where they have less than the catalog's."""
    least = (1 - MEMORY_TOLERANCE) * accelerator.usable_bytes
    return None if memory_bytes is None or memory_bytes >= least else [memory_bytes] * count


def _summarised(skipped: Sequence[Skipped]) -> list[Skipped]:
    """Tell of nodes without GPUs in one entry at the end: a cluster may have thousands."""
    bare = [each.name for each in skipped if each.reason == _NO_GPU]
    kept = [each for each in skipped if each.reason != _NO_GPU]
    return [*kept, Skipped(_named(bare), _NO_GPU)] if bare else kept


def _warn_of_tolerated(nodes: Sequence[Node], cluster: _Cluster) -> list[str]:
    """Say that taints which keep off all but GPU workloads were passed over."""
    kept = {node.name for node in nodes}
    tainted = [each.name for _, each in cluster.nodes if each.name in kept and _is_reserved(each)]
    if not tainted:
        return []
    warning = (
        f"Tainted with the name of their devices' resource, and kept: {_named(tainted)}. "
        "Pods placed there must tolerate the taint."
    )
    return [warning]


def _is_reserved(node: NodeObject) -> bool:
    """Tell whether a taint keeps off pods that do not want the node's devices."""
    return any(
        taint.key in _RESOURCE_NAMES and taint.effect != _PREFERENCE for taint in node.taints
    )


def _warn_of_indexes(nodes: Sequence[Node], cluster: _Cluster) -> list[str]:
    """Say that nobody knows which devices of a node in part use are free."""
    busy = {name for name, _ in cluster.requested}
    in_part_use = [node.name for node in nodes if node.name in busy]
    if not in_part_use:
        return []
    warning = (
        f"Pods use some devices of {_named(in_part_use)}. Kubernetes does not tell which, "
        "so a plan counts the free ones from 0."
    )
    return [warning]


def _named(names: Sequence[str]) -> str:
    """Name one, or the first of several and how many more there are."""
    more = len(names) - 1
    return f"{names[0]} and {more:,} more" if more else names[0]
