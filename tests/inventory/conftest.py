"""A small catalog, the recorded outputs, and the least that kubectl prints of an object."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rackfit.catalog.entries import Accelerator
from rackfit.errors import UnknownName, unknown_name
from rackfit.inventory.reading import Resolve

MIB = 1 << 20

CATALOG = {
    name: Accelerator(id=accelerator_id, reported_bytes=reported * MIB, usable_bytes=usable * MIB)
    for name, accelerator_id, reported, usable in (
        ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-80GB-HBM3", 81_559, 81_090),
        ("NVIDIA-GB200", "NVIDIA-GB200", 189_471, 188_416),
        ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB", 81_920, 81_153),
        ("NVIDIA-A10", "NVIDIA-A10", 23_028, 22_604),
        ("nvidia-h100-80gb", "NVIDIA-H100-80GB-HBM3", 81_559, 81_090),
        ("AMD_Instinct_MI300X_OAM", "AMD-Instinct-MI300X", 196_592, 196_288),
        ("gaudi3", "Gaudi-3", 131_072, 129_024),
    )
}

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def resolve() -> Resolve:
    """Look accelerators up as the catalog does; `gaudi3` comes with a warning."""

    def look_up(
        name: str, *, memory_bytes: int | None = None
    ) -> tuple[Accelerator, tuple[str, ...]]:
        assert memory_bytes is None or memory_bytes > 0
        found = CATALOG.get(name.replace(" ", "-"))
        if found is None:
            raise UnknownName(unknown_name("/accelerator", "accelerator", name, list(CATALOG)))
        return found, ("gaudi3 is taken for the OAM part.",) if name == "gaudi3" else ()

    return look_up


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of recorded outputs."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def node_object() -> Make:
    """Return a factory of Nodes: Ready, with 8 H100 unless told otherwise."""

    def make(
        name: str = "gpu-1",
        *,
        labels: Mapping[str, object] | None = None,
        allocatable: Mapping[str, object] | None = None,
        capacity: Mapping[str, object] | None = None,
        spec: Mapping[str, object] | None = None,
        ready: str = "True",
    ) -> dict[str, Any]:
        product = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
        devices = {"nvidia.com/gpu": "8"} if allocatable is None else allocatable
        return {
            "kind": "Node",
            "metadata": {"name": name, "labels": product if labels is None else labels},
            "spec": spec or {},
            "status": {
                "allocatable": devices,
                "capacity": devices if capacity is None else capacity,
                "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady"}],
            },
        }

    return make


@pytest.fixture(scope="session")
def pod_object() -> Make:
    """Return a factory of Pods bound to a node, one container for each number of GPUs."""

    def make(
        *gpus: object,
        node: str | None = "gpu-1",
        init: tuple[tuple[int, bool], ...] = (),
        phase: str = "Running",
    ) -> dict[str, Any]:
        def container(count: object, *, sidecar: bool = False) -> dict[str, Any]:
            resources = {"limits": {"nvidia.com/gpu": count}}
            return {"resources": resources} | ({"restartPolicy": "Always"} if sidecar else {})

        return {
            "kind": "Pod",
            "metadata": {"name": "pod", "namespace": "default"},
            "spec": {
                "nodeName": node,
                "containers": [container(count) for count in gpus],
                "initContainers": [container(n, sidecar=sidecar) for n, sidecar in init],
            },
            "status": {"phase": phase},
        }

    return make
