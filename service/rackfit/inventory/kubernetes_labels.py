"""What labels and resource names tell of a Kubernetes node's accelerators and its place.

Sources: GPU feature discovery and its labelers (NVIDIA/k8s-device-plugin: README,
`internal/lm`), AMD's node labeller (ROCm/k8s-device-plugin: `cmd/k8s-node-labeller`), Google
Kubernetes Engine's node labels, Topograph's reference of node labels.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

Labels = Mapping[str, str]


class Resource(msgspec.Struct, frozen=True):
    """An extended resource that counts whole devices, and what else its vendor prints.

    `product_labels` hold the product's name, the first present wins; `part_prefixes` begin
    the names of resources that count parts of devices or shared ones.
    """

    name: str
    noun: str
    product_labels: tuple[str, ...]
    part_prefixes: tuple[str, ...] = ()


RESOURCES = (
    Resource(
        "nvidia.com/gpu",
        "GPUs",
        ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator"),
        ("nvidia.com/mig-", "nvidia.com/gpu.shared"),
    ),
    Resource(
        "amd.com/gpu",
        "GPUs",
        ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name"),
        ("amd.com/cpx_", "amd.com/dpx_", "amd.com/qpx_", "amd.com/tpx_"),
    ),
    # Habana's feature discovery counts devices and does not name the product.
    Resource("habana.ai/gaudi", "accelerators", ("habana.ai/product.name",)),
)

_BY_HAND = "accelerator"
"""The label Kubernetes' own "Schedule GPUs" page sets by hand."""

_NUMBER = re.compile(r"\d{1,12}", re.ASCII)

_DOMAINS = ("nvidia.com/gpu.clique", "network.topology.nvidia.com/accelerator")
_NO_CLUSTER = "00000000-0000-0000-0000-000000000000"

_RACK_NAMES = ("rack", "rack-id", "topology-rack")
_RACKS = (
    "cloud.google.com/gce-topology-subblock",
    "fabric.topograph.run/tier-0",
    "network.topology.nvidia.com/leaf",
    "topology.k8s.aws/network-node-layer-3",
    "topology.kubernetes.io/zone",
)


def product(labels: Labels, resource: Resource) -> str | None:
    """Return what the node calls the product that `resource` counts."""
    return _first(labels, (*resource.product_labels, _BY_HAND))


def domain(labels: Labels) -> str | None:
    """Return the multi-node scale-up domain the node's devices are in.

    `nvidia.com/gpu.clique` is the NVLink fabric's cluster UUID and clique, and only devices of
    one clique reach each other. A fabric that ends at the node has a UUID of zeros, the same
    on every such node, and is no domain (meta-pytorch/torchcomms pull request 1385).
    """
    found = _first(labels, _DOMAINS)
    return None if found is None or found.startswith(_NO_CLUSTER) else found


def rack(labels: Labels) -> str | None:
    """Return the rack, or the closest place the labels tell: leaf switch, then zone."""
    named = sorted(key for key in labels if key.rpartition("/")[2] in _RACK_NAMES)
    return _first(labels, (*named, *_RACKS))


def memory_bytes(labels: Labels) -> int | None:
    """Return a device's total memory, which GPU feature discovery labels in MiB."""
    return (_number(labels, "nvidia.com/gpu.memory") << 20) or None


def sharing(labels: Labels, resource: Resource, allocatable: int) -> str | None:
    """Say how `allocatable` devices come to be less than whole ones; None if they are whole."""
    return next(_signs_of_sharing(labels, resource, allocatable), None)


def _signs_of_sharing(labels: Labels, resource: Resource, allocatable: int) -> Iterator[str]:
    name = product(labels, resource) or ""
    instance = labels.get("cloud.google.com/gke-gpu-partition-size")
    if "-MIG-" in name or instance:
        yield f"GPUs are partitioned with MIG ({instance or name})"
    partition = labels.get("amd.com/compute-memory-partition") or "spx"
    if not partition.casefold().startswith("spx"):
        yield f"GPUs are partitioned ({partition})"
    strategy = _first(
        labels, ("nvidia.com/gpu.sharing-strategy", "cloud.google.com/gke-gpu-sharing-strategy")
    )
    if strategy not in (None, "none"):
        yield f"GPUs are shared between pods ({strategy})"
    replicas = _number(labels, "nvidia.com/gpu.replicas")
    if replicas > 1 or name.endswith("-SHARED"):
        yield f"GPUs are shared between pods ({max(replicas, 2)} or more a GPU)"
    count = _number(labels, "nvidia.com/gpu.count")
    if 0 < count < allocatable:
        yield f"GPUs are shared or virtual ({count} advertised as {allocatable:,})"


def parts_of_devices(resource: Resource, quantities: Mapping[str, object]) -> str:
    """List the quantities that count parts of devices, as `name: quantity`."""
    return ", ".join(
        f"{name}: {quantity}"
        for name, quantity in sorted(quantities.items())
        if name.startswith(resource.part_prefixes) and str(quantity or 0) != "0"
    )


def _first(labels: Labels, keys: tuple[str, ...]) -> str | None:
    """Return the first value among `keys` that is not empty."""
    return next((labels[key] for key in keys if labels.get(key)), None)


def _number(labels: Labels, key: str) -> int:
    """Return a label that counts; 0 where it is absent or no number."""
    value = labels.get(key, "")
    return int(value) if _NUMBER.fullmatch(value) else 0
