"""The parts of Kubernetes' Node and Pod objects that an inventory is read from.

Unknown fields are ignored, since kubectl prints many; null stands for absent, since a `jq`
that trims the output prints it.
"""

import re
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from msgspec.json import Decoder

from rackfit.errors import InvalidInput, escaped
from rackfit.inventory.model import NO_CONTROLS, Label
from rackfit.inventory.reading import decode_json

T = TypeVar("T")

Quantity = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, le=10**15)]
Quantities = dict[str, Quantity | None]
Labels = dict[str, str]

_WHOLE = re.compile(r"(\d{1,12})(k?)", re.ASCII)
_NOTHING = msgspec.Raw(b"{}")
_NULL = msgspec.Raw(b"null")
_SIDECAR = "Always"
_TERMINAL_PHASES = ("Succeeded", "Failed")


class Taint(msgspec.Struct, frozen=True):
    """What keeps pods off a node unless they tolerate it."""

    key: str
    effect: str
    value: str | None = None

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        return f"{self.key}{value}:{self.effect}"


class Condition(msgspec.Struct, frozen=True):
    """One aspect of a node's health; `Ready` is the one that matters here."""

    type: str
    status: str
    reason: str | None = None


class NodeSpec(msgspec.Struct, frozen=True):
    """What the operator wants of a node."""

    unschedulable: bool | None = None
    taints: list[Taint] | None = None


class NodeStatus(msgspec.Struct, frozen=True):
    """What a node has: `capacity` in all, `allocatable` of it to pods."""

    capacity: Quantities | None = None
    allocatable: Quantities | None = None
    conditions: list[Condition] | None = None


class NodeObject(msgspec.Struct, frozen=True):
    """A Node. `pointer` arguments say where it stands in the body."""

    name: str
    labels: Labels
    spec: NodeSpec
    status: NodeStatus

    @property
    def taints(self) -> list[Taint]:
        """What keeps pods off the node."""
        return self.spec.taints or []

    def allocatable(self, resource: str, pointer: str) -> int:
        """Return how many devices of `resource` pods may hold, taken together."""
        return _devices(self.status.allocatable, resource, f"{pointer}/status/allocatable")

    def capacity(self, resource: str, pointer: str) -> int:
        """Return how many devices of `resource` the node has, healthy or not."""
        return _devices(self.status.capacity, resource, f"{pointer}/status/capacity")


class Resources(msgspec.Struct, frozen=True):
    """What a container asks for; for devices a limit alone is a request, too."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """A container; among init containers `restart_policy` Always makes it a sidecar."""

    resources: Resources | None = None
    restart_policy: str | None = None

    def requested(self, resource: str, pointer: str) -> int:
        """Return how many devices of `resource` the container holds."""
        asked = self.resources or Resources()
        if (asked.requests or {}).get(resource) is not None:
            return _devices(asked.requests, resource, f"{pointer}/resources/requests")
        return _devices(asked.limits, resource, f"{pointer}/resources/limits")


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """A pod's containers and the node it is bound to."""

    node_name: str | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None

    def requested(self, resource: str, pointer: str) -> int:
        """Return the pod's effective request for `resource`, in devices.

        The larger of what runs in the end (containers and sidecars) and of any moment of
        the start (one init container beside the sidecars listed before it). Source:
        Kubernetes documentation, "Effective Pod requests and limits".
        """
        sidecars = peak = 0
        for index, container in enumerate(self.init_containers or ()):
            held = container.requested(resource, f"{pointer}/initContainers/{index}")
            if container.restart_policy == _SIDECAR:
                sidecars += held
            else:
                peak = max(peak, sidecars + held)
        running = sum(
            container.requested(resource, f"{pointer}/containers/{index}")
            for index, container in enumerate(self.containers or ())
        )
        return max(running + sidecars, peak)


class PodStatus(msgspec.Struct, frozen=True):
    """Where a pod is in its life."""

    phase: str | None = None


class PodObject(msgspec.Struct, frozen=True):
    """A Pod."""

    spec: PodSpec
    status: PodStatus

    @property
    def node_name(self) -> str | None:
        """The node whose devices the pod holds; None while unbound or once it has ended."""
        return None if self.status.phase in _TERMINAL_PHASES else self.spec.node_name


class _Kind(msgspec.Struct, frozen=True):
    kind: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    name: Label
    labels: msgspec.Raw = _NOTHING


class _Item(msgspec.Struct, frozen=True):
    """Any object. What its kind makes of it is decoded only where the kind is read."""

    metadata: _Metadata
    kind: str = ""
    spec: msgspec.Raw = _NOTHING
    status: msgspec.Raw = _NOTHING


class _List(msgspec.Struct, frozen=True):
    items: list[_Item]


_KIND = Decoder(_Kind)
_LIST = Decoder(_List)
_ITEM = Decoder(_Item)
_LABELS = Decoder(dict[str, Annotated[str, NO_CONTROLS, Meta(max_length=253)] | None])
_NODE_SPEC = Decoder(NodeSpec)
_NODE_STATUS = Decoder(NodeStatus)
_POD_SPEC = Decoder(PodSpec)
_POD_STATUS = Decoder(PodStatus)


def decode(text: str) -> Iterator[tuple[str, NodeObject | PodObject]]:
    """Decode a List, NodeList, PodList or single object; other kinds in it are left out.

    Yields:
        Where each Node and Pod stands in the body, as a JSON Pointer, and the object.

    Raises:
        InvalidInput: Not JSON, not such a list, or an item has the wrong shape.
    """
    kind = decode_json(_KIND, text).kind
    if kind in ("Node", "Pod"):
        yield "", _typed(decode_json(_ITEM, text), kind, "")
        return
    # In the API server's own NodeList and PodList the items do not repeat their kind.
    usual_kind = kind.removesuffix("List")
    for index, item in enumerate(decode_json(_LIST, text).items):
        item_kind = item.kind or usual_kind
        if item_kind in ("Node", "Pod"):
            pointer = f"/items/{index}"
            yield pointer, _typed(item, item_kind, pointer)


def _typed(item: _Item, kind: str, pointer: str) -> NodeObject | PodObject:
    """Decode what a Node or a Pod has of its own."""
    if kind == "Pod":
        return PodObject(
            spec=_part(_POD_SPEC, item.spec, f"{pointer}/spec"),
            status=_part(_POD_STATUS, item.status, f"{pointer}/status"),
        )
    labels = _part(_LABELS, item.metadata.labels, f"{pointer}/metadata/labels")
    return NodeObject(
        name=item.metadata.name,
        labels={key: value for key, value in labels.items() if value is not None},
        spec=_part(_NODE_SPEC, item.spec, f"{pointer}/spec"),
        status=_part(_NODE_STATUS, item.status, f"{pointer}/status"),
    )


def _part(decoder: Decoder[T], raw: msgspec.Raw, pointer: str) -> T:
    return decode_json(decoder, _NOTHING if raw == _NULL else raw, pointer)


def _devices(quantities: Quantities | None, resource: str, pointer: str) -> int:
    """Return how many devices of `resource` a map of quantities has; 0 if it has none."""
    quantity = (quantities or {}).get(resource)
    if quantity is None:
        return 0
    match = _WHOLE.fullmatch(str(quantity))
    if match is None:
        detail = f"{quantity!r} is not a whole number of devices."
        raise InvalidInput.at(f"{pointer}/{escaped(resource)}", detail)
    return int(match[1]) * (1000 if match[2] else 1)
