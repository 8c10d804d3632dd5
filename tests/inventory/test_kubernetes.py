"""What `kubectl get nodes,pods -A -o json` prints, read as an inventory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rackfit.catalog import Catalog
from rackfit.catalog.entries import Accelerator
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.normalize import normalize
from rackfit.inventory.reading import Resolve

Make = Callable[..., dict[str, Any]]

H100 = "NVIDIA-H100-80GB-HBM3"
CLIQUE = "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"


def read(resolve: Resolve, *items: dict[str, Any]) -> Inventory:
    """Read a List of `items`."""
    return normalize("kubernetes", json.dumps({"kind": "List", "items": items}).encode(), resolve)


def refusal(resolve: Resolve, *items: dict[str, Any]) -> str:
    """Return why the only node among `items` is left out."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, *items)
    return caught.value.violations[0].detail


@pytest.fixture(scope="module")
def cluster(resolve: Resolve, data: Path) -> Inventory:
    """Read the recorded cluster."""
    return normalize("kubernetes", (data / "kubectl_nodes_pods.json").read_bytes(), resolve)


def test_nodes_of_the_recorded_cluster_have_what_pods_leave_free(cluster: Inventory) -> None:
    """A node has its allocatable devices less those that bound, unfinished pods request."""
    expected = [
        Node(name="h100-01", accelerator=H100, count=2, rack="r12"),
        Node(name="h100-02", accelerator=H100, count=8, rack="r12"),
        Node(name="h100-07", accelerator=H100, count=7, rack="eu-north1-a"),
        Node(name="mig-mixed", accelerator="NVIDIA-A100-SXM4-80GB", count=6, rack="eu-north1-a"),
        Node(
            name="gb200-r1-t01",
            accelerator="NVIDIA-GB200",
            count=4,
            domain=CLIQUE,
            rack="eu-north1-a",
        ),
        Node(
            name="gb200-r1-t02",
            accelerator="NVIDIA-GB200",
            count=4,
            domain=CLIQUE,
            rack="eu-north1-a",
        ),
        Node(name="mi300x-01", accelerator="AMD-Instinct-MI300X", count=5, rack="eu-north1-a"),
        Node(name="gaudi3-01", accelerator="Gaudi-3", count=8, rack="eu-north1-a"),
    ]
    assert expected == cluster.nodes


def test_what_is_left_out_of_the_recorded_cluster_says_why(cluster: Inventory) -> None:
    """Every node, or part of one, that cannot be planned on is listed with its reason."""
    whole = "only whole GPUs are planned on, no MIG instances, partitions or shares"
    expected = [
        Skipped("h100-03", "all 8 GPUs are requested by pods"),
        Skipped("h100-04", "cordoned"),
        Skipped("h100-05", "not Ready (NodeStatusUnknown)"),
        Skipped("h100-06", "tainted dedicated=training:NoSchedule"),
        Skipped("h100-07", "1 of 8 GPUs cannot be allocated: unhealthy or held back"),
        Skipped(
            "mig-single",
            "GPUs are partitioned with MIG (NVIDIA-A100-SXM4-80GB-MIG-1g.10gb)",
        ),
        Skipped("mig-mixed", f"{whole} (nvidia.com/mig-3g.40gb: 4)"),
        Skipped("sliced", "GPUs are shared between pods (time-slicing)"),
        Skipped("mi300x-02", "GPUs are partitioned (cpx_nps4)"),
        Skipped("p400", "unknown product: There is no accelerator named 'Quadro-P400'."),
        Skipped("control-1 and 2 more", "no GPU resources"),
    ]
    assert expected == cluster.skipped


def test_warnings_of_the_recorded_cluster_come_once_each(cluster: Inventory) -> None:
    """Tolerated taints, unknown device indexes and catalog warnings are said once."""
    expected = [
        (
            "Tainted with the name of their devices' resource, and kept: h100-01 and 1 more. "
            "Pods placed there must tolerate the taint."
        ),
        (
            "Pods use some devices of h100-01 and 1 more. Kubernetes does not tell which, "
            "so a plan counts the free ones from 0."
        ),
        "gaudi3 is taken for the OAM part.",
    ]
    assert expected == cluster.warnings


def test_nodes_without_pods_are_read_with_a_warning(resolve: Resolve, data: Path) -> None:
    """`kubectl get nodes -o json` alone is accepted, but every GPU in it looks free."""
    body = (data / "kubectl_nodes.json").read_bytes()
    inventory = normalize("kubernetes", body, resolve)
    assert [("h100-01", 8)] == [(node.name, node.count) for node in inventory.nodes]
    assert inventory.warnings[0].startswith("No Pod is listed, so GPUs that pods use look free")


def test_items_of_a_node_list_need_not_repeat_their_kind(
    resolve: Resolve, node_object: Make
) -> None:
    """The API server's NodeList leaves out each item's kind."""
    item = node_object()
    del item["kind"]
    body = json.dumps({"kind": "NodeList", "items": [item]}).encode()
    assert 8 == normalize("kubernetes", body, resolve).nodes[0].count


def test_a_single_node_is_read(resolve: Resolve, node_object: Make) -> None:
    """`kubectl get node NAME -o json` prints no list."""
    body = json.dumps(node_object("gpu-7")).encode()
    assert ["gpu-7"] == [node.name for node in normalize("kubernetes", body, resolve).nodes]


def test_other_kinds_in_the_list_are_ignored(resolve: Resolve, node_object: Make) -> None:
    """A list may hold more than was asked for, of any shape of its own."""
    service = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"containers": "none"}}
    assert ["gpu-1"] == [node.name for node in read(resolve, service, node_object()).nodes]


@pytest.mark.parametrize(
    ("product", "memory", "expected"),
    [
        ("NVIDIA-H100", "95830", "NVIDIA-H100-SXM5-94GB"),
        ("NVIDIA-H100", "65247", "NVIDIA-H100-SXM5-64GB"),
        ("NVIDIA-GeForce-RTX-4090", "49140", "NVIDIA-GeForce-RTX-4090-48GB"),
    ],
)
def test_the_memory_labelled_tells_which_part_it_is(
    catalog: Catalog, node_object: Make, product: str, memory: str, expected: str
) -> None:
    """The product's label is what the driver prints, one name for several parts."""
    labels = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": memory}
    inventory = read(catalog.accelerator, node_object(labels=labels))
    assert [Node(name="gpu-1", accelerator=expected, count=8)] == inventory.nodes
    assert [warning for warning in inventory.warnings if "No Pod" not in warning] == []


def test_null_for_a_quantity_or_a_label_stands_for_absent(
    resolve: Resolve, node_object: Make, pod_object: Make
) -> None:
    """A container's null request leaves its limit, a node's null quantity no devices."""
    node = node_object(
        labels={"nvidia.com/gpu.product": H100, "rack": None},
        allocatable={"nvidia.com/gpu": "8", "amd.com/gpu": None, "nvidia.com/mig-1g.10gb": None},
    )
    bare = node_object("cpu-1", labels={}, allocatable={"nvidia.com/gpu": None})
    pod = pod_object("2")
    pod["spec"]["containers"][0]["resources"]["requests"] = {"nvidia.com/gpu": None}
    inventory = read(resolve, node, bare, pod)
    assert [Node(name="gpu-1", accelerator=H100, count=6)] == inventory.nodes
    assert [Skipped("cpu-1", "no GPU resources")] == inventory.skipped


@pytest.mark.parametrize("name", ["gpu\0", "gpu\n1", "gpu-1\n", "\x1b[31m", "\x85"])
def test_a_name_with_control_characters_is_refused(
    resolve: Resolve, node_object: Make, name: str
) -> None:
    """No tool prints such a name, and a terminal would obey it."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, node_object(name))
    (violation,) = caught.value.violations
    assert "/items/0/metadata/name" == violation.pointer
    assert "Expected a name without control characters." == violation.detail


def test_null_stands_for_absent(resolve: Resolve, node_object: Make, pod_object: Make) -> None:
    """A `jq` that trims the output prints null for what an object does not have."""
    node = node_object(spec={"unschedulable": None, "taints": None})
    pod = pod_object("2") | {"status": None}
    pod["spec"]["initContainers"] = None
    assert 6 == read(resolve, pod, node).nodes[0].count


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec": {"unschedulable": True}}, "cordoned"),
        ({"ready": "False"}, "not Ready (KubeletReady)"),
        (
            {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}, "ready": "Unknown"},
            "not Ready (KubeletReady); tainted a:NoExecute",
        ),
        (
            {
                "spec": {
                    "taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]
                }
            },
            "tainted node.kubernetes.io/disk-pressure:NoSchedule",
        ),
        ({"labels": {}}, "no label (nvidia.com/gpu.product) names the product of its GPUs"),
        ({"allocatable": {}}, "no nvidia.com/gpu is allocatable: is its device plugin running?"),
        ({"labels": {}, "allocatable": {"nvidia.com/mig-1g.10gb": "7"}}, "mig-1g.10gb: 7"),
        ({"allocatable": {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "32"}}, "gpu.shared: 32"),
    ],
)
def test_a_node_that_cannot_be_planned_on_says_why(
    resolve: Resolve, node_object: Make, changes: dict[str, Any], reason: str
) -> None:
    """With nothing usable left the reasons are the answer."""
    found = read(resolve, node_object(**changes))
    assert [] == found.nodes
    assert reason in "; ".join(left.reason for left in found.skipped)


@pytest.mark.parametrize(
    "taint",
    [
        {"key": "dedicated", "value": "training", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu.unhealthy", "effect": "NoExecute"},
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
        {"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"},
        {"key": "spot", "effect": "AnEffectOfTomorrow"},
    ],
)
def test_a_taint_leaves_the_node_out_with_its_reason(
    resolve: Resolve, node_object: Make, taint: dict[str, str]
) -> None:
    """Every taint but a preference and that of the devices' own resource."""
    found = read(resolve, node_object(spec={"taints": [taint]}))
    value = f"={taint['value']}" if "value" in taint else ""
    reason = f"tainted {taint['key']}{value}:{taint['effect']}"
    assert ([], [Skipped("gpu-1", reason)]) == (found.nodes, found.skipped)


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
@pytest.mark.parametrize("value", ["present", ""])
def test_the_taint_that_gpu_pods_tolerate_keeps_the_node_with_a_warning(
    resolve: Resolve, node_object: Make, effect: str, value: str
) -> None:
    """Its key is the resource's name, whose toleration Kubernetes can add to such pods itself."""
    taint = {"key": "nvidia.com/gpu", "value": value, "effect": effect}
    found = read(resolve, node_object(spec={"taints": [taint]}))
    assert [8] == [node.count for node in found.nodes]
    assert "Pods placed there must tolerate the taint." in " ".join(found.warnings)


def test_a_preference_is_no_refusal(resolve: Resolve, node_object: Make) -> None:
    """A PreferNoSchedule taint does not keep a pod off the node."""
    taint = {"key": "spot", "effect": "PreferNoSchedule"}
    assert 8 == read(resolve, node_object(spec={"taints": [taint]})).nodes[0].count


def test_a_node_without_conditions_is_not_ready(resolve: Resolve, node_object: Make) -> None:
    """Where nothing says that a node is Ready, it is not."""
    node = node_object()
    del node["status"]["conditions"]
    assert [Skipped("gpu-1", "not Ready (no Ready condition)")] == read(resolve, node).skipped


def test_a_second_vendor_on_a_node_is_left_out(resolve: Resolve, node_object: Make) -> None:
    """A node of the inventory has one type of accelerator."""
    inventory = read(resolve, node_object(allocatable={"nvidia.com/gpu": "8", "amd.com/gpu": "1"}))
    expected = [Skipped("gpu-1", "amd.com/gpu beside nvidia.com/gpu: a node has one type")]
    assert expected == inventory.skipped


def test_gke_names_the_product_without_feature_discovery(
    resolve: Resolve, node_object: Make
) -> None:
    """Google Kubernetes Engine runs its own driver and labels the product itself."""
    node = node_object(labels={"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"})
    assert H100 == read(resolve, node).nodes[0].accelerator


def test_less_memory_than_the_catalog_has_is_what_is_free(
    resolve: Resolve, node_object: Make
) -> None:
    """A variant with less memory is planned with what the node says, and a warning."""
    labels = {"nvidia.com/gpu.product": H100, "nvidia.com/gpu.memory": "65536"}
    inventory = read(resolve, node_object(labels=labels, allocatable={"nvidia.com/gpu": "2"}))
    assert [65_536 << 20] * 2 == inventory.nodes[0].free_bytes
    assert any("reports 65,536 MiB of memory" in warning for warning in inventory.warnings)


def test_a_little_less_memory_is_a_matter_of_measuring(resolve: Resolve, node_object: Make) -> None:
    """Early GPU feature discovery labelled what CUDA sees, some 3.5 % less than nvidia-smi."""
    labels = {"nvidia.com/gpu.product": H100, "nvidia.com/gpu.memory": "78704"}
    inventory = read(resolve, node_object(labels=labels), node_object("gpu-2", labels=labels))
    assert [None, None] == [node.free_bytes for node in inventory.nodes]
    assert not any("78,704" in warning for warning in inventory.warnings)


def test_each_product_is_looked_up_once(resolve: Resolve, node_object: Make) -> None:
    """Ten thousand nodes of one product cost one look-up, known product or not."""
    asked: list[str] = []

    def counted(
        name: str, *, memory_bytes: int | None = None
    ) -> tuple[Accelerator, tuple[str, ...]]:
        asked.append(name)
        return resolve(name, memory_bytes=memory_bytes)

    unknown = {"nvidia.com/gpu.product": "Quadro-P400"}
    items = [node_object(f"gpu-{i}", labels=unknown if i % 2 else None) for i in range(6)]
    assert 3 == len(read(counted, *items).nodes)
    assert [H100, "Quadro-P400"] == asked


def test_more_products_than_a_cluster_has_are_refused(resolve: Resolve, node_object: Make) -> None:
    """Looking up a name that is unknown is dear, so made-up ones cannot be had by the thousand."""
    items = [node_object(f"n{i}", labels={"nvidia.com/gpu.product": f"p{i}"}) for i in range(101)]
    with pytest.raises(InvalidInput, match="More than 100 products are named"):
        read(resolve, *items)


def test_a_node_listed_twice_is_refused(resolve: Resolve, node_object: Make) -> None:
    """Node names are unique, so two of one name are two outputs in one body."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, node_object("a"), node_object("b"), node_object("a"))
    assert ["/items/2/metadata/name"] == [v.pointer for v in caught.value.violations]


@pytest.mark.parametrize("quantity", ["500m", "-1", "many", "", "1.5", "٣", -1, 10**18, 1.5, True])
def test_a_quantity_that_counts_no_devices_is_refused(
    resolve: Resolve, node_object: Make, quantity: object
) -> None:
    """Extended resources are whole numbers; anything else is pointed at."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, node_object(), node_object("gpu-2", allocatable={"nvidia.com/gpu": quantity}))
    assert caught.value.violations[0].pointer.startswith("/items/1/status/")


def test_more_devices_than_a_node_can_have_are_refused(resolve: Resolve, node_object: Make) -> None:
    """An absurd number of devices is wrong input; Kubernetes spells 2000 as 2k."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, node_object(allocatable={"nvidia.com/gpu": "2k"}))
    violation = caught.value.violations[0]
    assert "/items/0/status/allocatable/nvidia.com~1gpu" == violation.pointer
    assert "2,000 devices on one node are more than 1,024." == violation.detail


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b"", "", "This is not JSON: Input data was truncated."),
        (b"NAME   STATUS\ngpu-1  Ready\n", "", "This is not JSON: "),
        (b"[]", "", "Expected `object`, got `array`."),
        (b"{}", "", "Object missing required field `items`."),
        (b'{"items": []}', "/items", "No Node is listed"),
        (b'{"items": [{}]}', "/items/0", "Object missing required field `metadata`."),
        (b'{"items": [{"metadata": {"name": 1}}]}', "/items/0/metadata/name", "Expected `str`"),
        (b'{"items": [{"metadata": {"name": ""}}]}', "/items/0/metadata/name", "length >= 1"),
        (
            b'{"items": [{"kind": "Node", "metadata": {"name": "a", "labels": {"b": 1}}}]}',
            "/items/0/metadata/labels",
            "Expected `str | null`, got `int`.",
        ),
        (
            b'{"items": [{"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": {}}}]}',
            "/items/0/spec/containers",
            "Expected `array | null`, got `object`.",
        ),
        (b'{"items": ' + b"[" * 100_000, "", "The JSON is nested too deeply."),
        (b'{"kind": "Node", "metadata": {"name": "a"}, "spec": 3}', "/spec", "Expected `object`"),
    ],
)
def test_a_body_of_another_shape_is_pointed_at(
    resolve: Resolve, body: bytes, pointer: str, detail: str
) -> None:
    """What is not a list of Nodes and Pods is refused with the place and what is wrong."""
    with pytest.raises(InvalidInput) as caught:
        normalize("kubernetes", body, resolve)
    (violation,) = caught.value.violations
    assert pointer == violation.pointer
    assert detail in violation.detail


def test_a_host_name_is_refused(resolve: Resolve, data: Path) -> None:
    """Kubernetes names its nodes itself, so `node` would be a misunderstanding."""
    body = (data / "kubectl_nodes.json").read_bytes()
    with pytest.raises(InvalidInput) as caught:
        normalize("kubernetes", body, resolve, node="gpu-1")
    assert "?node" == caught.value.violations[0].pointer
