"""What pods hold of a node's devices."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.errors import InvalidInput
from rackfit.inventory.normalize import normalize
from rackfit.inventory.reading import Resolve

Make = Callable[..., dict[str, Any]]

DEVICES = 8


def free(resolve: Resolve, node: dict[str, Any], *pods: dict[str, Any]) -> int:
    """Return how many of a node's devices `pods` leave free."""
    body = json.dumps({"kind": "List", "items": [*pods, node]}).encode()
    try:
        return normalize("kubernetes", body, resolve).nodes[0].count
    except InvalidInput as error:
        if "are requested by pods" not in error.violations[0].detail:
            raise
        return 0


@pytest.mark.parametrize(
    ("containers", "init", "held"),
    [
        ((1, 2), (), 3),
        ((1, 2), ((5, False),), 5),
        ((1, 2), ((2, False), (3, False)), 3),
        ((1,), ((2, True),), 3),
        ((1,), ((2, True), (4, False)), 6),
        ((1,), ((4, False), (2, True)), 4),
        ((1,), ((1, True), (1, True), (1, False)), 3),
        ((), (), 0),
    ],
)
def test_a_pod_holds_its_effective_request(
    resolve: Resolve,
    node_object: Make,
    pod_object: Make,
    *,
    containers: tuple[int, ...],
    init: tuple[tuple[int, bool], ...],
    held: int,
) -> None:
    """The larger of containers with sidecars, and of one init container beside the sidecars."""
    pod = pod_object(*containers, init=init)
    assert DEVICES - held == free(resolve, node_object(), pod)


@pytest.mark.parametrize(("phase", "held"), [("Succeeded", 0), ("Failed", 0), ("Pending", 2)])
def test_a_pod_that_has_ended_holds_nothing(
    resolve: Resolve, node_object: Make, pod_object: Make, phase: str, held: int
) -> None:
    """A bound pod holds its devices until it has succeeded or failed."""
    assert DEVICES - held == free(resolve, node_object(), pod_object("2", phase=phase))


def test_a_pod_without_a_node_holds_nothing(
    resolve: Resolve, node_object: Make, pod_object: Make
) -> None:
    """A pod that waits to be placed holds no devices, nor does one on another node."""
    waiting = pod_object("8", node=None, phase="Pending")
    elsewhere = pod_object("8", node="gpu-2")
    assert DEVICES == free(resolve, node_object(), waiting, elsewhere)


def test_a_request_counts_once_beside_its_limit(
    resolve: Resolve, node_object: Make, pod_object: Make
) -> None:
    """The API server copies a device limit to the request: it is the same devices."""
    pod = pod_object("3")
    pod["spec"]["containers"][0]["resources"]["requests"] = {"nvidia.com/gpu": "3"}
    assert DEVICES - 3 == free(resolve, node_object(), pod)


def test_devices_of_another_vendor_are_counted_apart(
    resolve: Resolve, node_object: Make, pod_object: Make
) -> None:
    """A request for one vendor's devices leaves another's free."""
    pod = pod_object()
    pod["spec"]["containers"] = [{"resources": {"limits": {"amd.com/gpu": "8", "cpu": "500m"}}}]
    assert DEVICES == free(resolve, node_object(), pod)


def test_a_request_that_counts_no_devices_is_pointed_at(
    resolve: Resolve, node_object: Make, pod_object: Make
) -> None:
    """Half a device cannot be requested."""
    with pytest.raises(InvalidInput) as caught:
        free(resolve, node_object(), pod_object("1", "500m"))
    expected = "/items/0/spec/containers/1/resources/limits/nvidia.com~1gpu"
    assert expected == caught.value.violations[0].pointer


@given(
    allocatable=st.lists(st.integers(0, 16), min_size=1, max_size=5),
    requests=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=12),
)
def test_no_more_is_free_than_is_allocatable(
    resolve: Resolve,
    node_object: Make,
    pod_object: Make,
    allocatable: list[int],
    requests: list[tuple[int, int]],
) -> None:
    """Whatever pods request, each node has free its allocatable less their sum, and no less."""
    nodes = [
        node_object(f"gpu-{index}", allocatable={"nvidia.com/gpu": str(count)})
        for index, count in enumerate(allocatable)
    ]
    pods = [pod_object(str(count), node=f"gpu-{index}") for index, count in requests]
    held = [sum(n for index, n in requests if index == node) for node in range(len(nodes))]
    expected = {
        f"gpu-{index}": count - held[index]
        for index, count in enumerate(allocatable)
        if count > held[index]
    }
    body = json.dumps({"kind": "List", "items": nodes + pods}).encode()
    try:
        found = normalize("kubernetes", body, resolve).nodes
    except InvalidInput:
        found = []
    assert expected == {node.name: node.count for node in found}
