"""What labels tell of a node's accelerators and its place."""

import pytest

from rackfit.inventory import kubernetes_labels as labelled

NVIDIA, AMD, GAUDI = labelled.RESOURCES
PRODUCT = "nvidia.com/gpu.product"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({PRODUCT: "NVIDIA-H200", "accelerator": "h100"}, "NVIDIA-H200"),
        ({PRODUCT: "", "accelerator": "h100"}, "h100"),
        ({"cloud.google.com/gke-accelerator": "nvidia-l4"}, "nvidia-l4"),
        ({"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, None),
    ],
)
def test_the_product_is_the_vendors_label_or_one_set_by_hand(
    labels: dict[str, str], expected: str | None
) -> None:
    """The vendor's own label wins; another vendor's says nothing."""
    assert expected == labelled.product(labels, NVIDIA)


def test_amds_older_label_is_read() -> None:
    """Early versions of AMD's labeller print the beta prefix alone."""
    labels = {"beta.amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}
    assert "AMD_Instinct_MI300X_OAM" == labelled.product(labels, AMD)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            {"nvidia.com/gpu.clique": "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"},
            "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1",
        ),
        ({"network.topology.nvidia.com/accelerator": "nvl1"}, "nvl1"),
        ({"nvidia.com/gpu.clique": "00000000-0000-0000-0000-000000000000.0"}, None),
        ({}, None),
    ],
)
def test_a_domain_is_the_nvlink_clique(labels: dict[str, str], expected: str | None) -> None:
    """A fabric of zeros ends at its node, so nodes that share it share no domain."""
    assert expected == labelled.domain(labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"topology.kubernetes.io/rack": "r1", "topology.kubernetes.io/zone": "z"}, "r1"),
        ({"example.com/rack-id": "7"}, "7"),
        ({"rack": "b", "example.com/rack": "a"}, "a"),
        ({"network.topology.nvidia.com/leaf": "s1", "topology.kubernetes.io/zone": "z"}, "s1"),
        ({"topology.kubernetes.io/zone": "z"}, "z"),
        ({"example.com/track": "no"}, None),
    ],
)
def test_a_rack_is_the_closest_place_labelled(labels: dict[str, str], expected: str | None) -> None:
    """A rack by any prefix, else the leaf switch, else the zone; by key where two say so."""
    assert expected == labelled.rack(labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({PRODUCT: "A100-SXM4-40GB-MIG-1g.5gb"}, "partitioned with MIG (A100-SXM4-40GB-MIG"),
        ({PRODUCT: "NVIDIA-A100-MIG-INVALID"}, "partitioned with MIG"),
        ({"cloud.google.com/gke-gpu-partition-size": "1g.5gb"}, "partitioned with MIG (1g.5gb)"),
        ({"amd.com/compute-memory-partition": "cpx_nps4"}, "partitioned (cpx_nps4)"),
        ({"nvidia.com/gpu.sharing-strategy": "mps"}, "shared between pods (mps)"),
        ({"cloud.google.com/gke-gpu-sharing-strategy": "time-sharing"}, "(time-sharing)"),
        ({"nvidia.com/gpu.replicas": "4"}, "shared between pods (4 or more a GPU)"),
        ({PRODUCT: "Tesla-T4-SHARED"}, "shared between pods (2 or more a GPU)"),
        ({"nvidia.com/gpu.count": "4"}, "shared or virtual (4 advertised as 8)"),
    ],
)
def test_devices_that_are_not_whole_say_how(labels: dict[str, str], expected: str) -> None:
    """MIG, AMD's partitions, time-slicing, MPS and virtual GPUs each show in a label."""
    assert expected in str(labelled.sharing(labels, NVIDIA, 8))


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {PRODUCT: "NVIDIA-H100-80GB-HBM3", "nvidia.com/mig.strategy": "single"},
        {"nvidia.com/gpu.sharing-strategy": "none", "nvidia.com/gpu.replicas": "1"},
        {"nvidia.com/gpu.replicas": "0"},
        {"nvidia.com/gpu.count": "8"},
        {"nvidia.com/gpu.count": "many"},
        {"amd.com/compute-memory-partition": "spx_nps1"},
    ],
)
def test_whole_devices_have_nothing_to_say(labels: dict[str, str]) -> None:
    """A strategy without instances, one replica, and SPX leave devices whole."""
    assert labelled.sharing(labels, NVIDIA, 8) is None


def test_parts_of_devices_are_listed_by_name() -> None:
    """Instances are counted by resources of their own; none of a kind is not worth a word."""
    quantities = {
        "nvidia.com/mig-3g.40gb": "2",
        "nvidia.com/mig-1g.10gb": "7",
        "nvidia.com/mig-2g.20gb": "0",
        "nvidia.com/gpu": "6",
        "cpu": "192",
    }
    expected = "nvidia.com/mig-1g.10gb: 7, nvidia.com/mig-3g.40gb: 2"
    assert expected == labelled.parts_of_devices(NVIDIA, quantities)
    assert "" == labelled.parts_of_devices(GAUDI, quantities)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("81559", 81_559 << 20), ("0", None), ("", None), ("80 GB", None), ("9" * 40, None)],
)
def test_memory_is_labelled_in_mebibytes(value: str, expected: int | None) -> None:
    """A label that is no plain number, or no number a GPU could have, says nothing."""
    assert expected == labelled.memory_bytes({"nvidia.com/gpu.memory": value})
