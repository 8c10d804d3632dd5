"""What `scontrol` prints, as an inventory."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Skipped
from rackfit.inventory.normalize import normalize
from rackfit.inventory.slurm_records import gres

CATALOG = load_catalog()
H200 = CATALOG.accelerators["NVIDIA-H200"].usable_bytes
PRINTED = (Path(__file__).parents[2] / "docs/examples/scontrol-nodes.txt").read_text()


def read(text: str) -> Inventory:
    """Read what Slurm printed."""
    return normalize("slurm", text.encode(), CATALOG.accelerator)


def node(name: str = "n", **fields: str) -> str:
    """Spell a record."""
    given = {"Gres": "gpu:h200:8", "State": "IDLE"} | fields
    return f"NodeName={name} Arch=x86_64 " + " ".join(f"{k}={v}" for k, v in given.items()) + "\n"


def test_what_scontrol_prints_is_an_inventory() -> None:
    """Devices that jobs hold have nothing free and keep their numbers; drained nodes are told."""
    found = read(PRINTED)
    first, second = found.nodes
    assert (first.name, first.accelerator, first.count) == ("gpu-01", "NVIDIA-H200", 8)
    assert first.free_bytes is None
    assert second.free_bytes == [0, 0, H200, H200, H200, 0, H200, H200]
    assert found.skipped == [
        Skipped("gpu-03", "drained"),
        Skipped("cpu-01", "no GRES of the name gpu"),
    ]


def test_one_line_a_node_is_the_same() -> None:
    """`scontrol --oneliner` joins the lines."""
    joined = "\n".join(" ".join(one.split()) for one in PRINTED.split("\n\n"))
    assert read(joined) == read(PRINTED)


def test_json_is_the_same() -> None:
    """As `--json` has it, states in a list."""
    nodes = [
        {
            "name": "gpu-01",
            "gres": "gpu:h200:8(S:0-1)",
            "gres_used": "gpu:h200:0",
            "state": ["IDLE"],
        },
        {
            "name": "gpu-02",
            "gres": "gpu:h200:8(S:0-1)",
            "gres_used": "gpu:h200:3(IDX:0-1,5)",
            "state": ["MIXED"],
        },
        {"name": "gpu-03", "gres": "gpu:h200:8", "gres_used": "", "state": ["IDLE", "DRAIN"]},
        {"name": "cpu-01", "gres": "", "gres_used": "", "state": ["IDLE"]},
    ]
    assert read(json.dumps({"nodes": nodes, "meta": {"slurm": {}}})) == read(PRINTED)


def test_without_detail_only_the_number_is_known() -> None:
    """Fewer devices, and a warning that nobody knows which."""
    found = read(node(State="MIXED", AllocTRES="cpu=8,gres/gpu=3,gres/gpu:h200=3"))
    assert [(n.count, n.free_bytes) for n in found.nodes] == [(5, None)]
    assert "did not tell which" in found.warnings[0]


def test_a_full_node_and_one_without_a_type_are_left_out() -> None:
    """With the reason."""
    full = node("a", State="ALLOCATED", GresUsed="gpu:h200:8(IDX:0-7)")
    untyped, strange = node("b", Gres="gpu:8"), node("c", Gres="gpu:z9000:8")
    reasons = [one.reason for one in read(full + untyped + strange).skipped]
    assert reasons[0] == "all 8 gpu:h200 are held by jobs"
    assert reasons[1] == "GRES gpu:8 names no type"
    assert "z9000" in reasons[2]


def test_a_host_with_two_types_is_two_nodes() -> None:
    """A node of an inventory has one."""
    found = read(node(Gres="gpu:h200:4,gpu:l4:2,nic:mlx5:8"))
    assert [(n.name, n.count) for n in found.nodes] == [("n", 4), ("n/l4", 2)]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("DOWN", "down"),
        ("DOWN*", "down, not responding"),
        ("DOWN*+DRAIN", "down, drained, not responding"),
        ("IDLE*", "not responding"),
        ("MIXED+MAINTENANCE", "in maintenance"),
        ("IDLE+RESERVED", "reserved"),
        ("IDLE+CLOUD+POWERED_DOWN", "powered down"),
        ("DRAINED", "drained"),
        ("FUTURE", "future"),
        ("", "of no state"),
    ],
)
def test_nodes_that_take_no_jobs_say_why(state: str, reason: str) -> None:
    """In words an operator knows."""
    assert [one.reason for one in read(node(State=state)).skipped] == [reason]


@pytest.mark.parametrize("state", ["IDLE", "MIXED", "ALLOCATED", "IDLE+CLOUD", "MIXED+PLANNED"])
def test_nodes_that_take_jobs_are_kept(state: str) -> None:
    """Whatever else their state says."""
    assert len(read(node(State=state)).nodes) == 1


def test_numbers_that_no_node_has_are_not_counted_out() -> None:
    """Ranges that come to another number than jobs hold tell nothing, however wide they are."""
    ranges = ",".join(["0-9999"] * 10_000)
    found = read(node("a", GresUsed=f"gpu:h200:3(IDX:{ranges})"))
    assert [(one.count, one.free_bytes) for one in found.nodes] == [(5, None)]
    assert "Jobs hold some devices of a." in found.warnings[0]


def test_numbers_of_other_gres_are_nobodys_concern() -> None:
    """A network card in use says nothing about GPUs."""
    whole = node("a", Gres="gpu:h200:8,nic:2", GresUsed="gpu:h200:1(IDX:0),nic:1")
    assert read(whole).warnings == []


def test_lists_of_gres() -> None:
    """Names, types and numbers; what stands behind has commas of its own."""
    found = gres("gpu:h100:8(S:0-1,3),shard:h100:80(S:0),gpu:2,nic")
    assert [(one.name, one.type, one.count) for one in found] == [
        ("gpu", "h100", 8),
        ("shard", "h100", 80),
        ("gpu", None, 2),
        ("nic", None, 1),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "No node is listed"),
        ("PARTITION AVAIL\nbatch up\n", "No node is listed"),
        (node("a") + node("a"), "listed twice"),
        ("{}", "missing required field `nodes`"),
        ('{"nodes": [{}]}', "missing required field `name`"),
        ("{", "not JSON"),
        ("NodeName= Gres=gpu:h200:8", "1 to 253 characters"),
        (node("a", Gres=",".join(["gpu:h200:1"] * 33)), "33 kinds of GRES on the node 'a'"),
        (node("a", Comment="x" * 100_000), "More than 100,000 characters about the node 'a"),
        (
            json.dumps({"nodes": [{"name": "a", "gres": "g" * 100_001}]}),
            "More than 100,000 characters about the node 'a'",
        ),
    ],
)
def test_what_is_no_such_text_is_told(text: str, said: str) -> None:
    """With what is wanted."""
    with pytest.raises(InvalidInput, match=said):
        read(text)


def test_the_cluster_names_its_nodes() -> None:
    """`node` is for formats that do not."""
    with pytest.raises(InvalidInput, match="names its nodes itself"):
        normalize("slurm", PRINTED.encode(), CATALOG.accelerator, node="x")


FRAGMENTS = ("NodeName=a ", "Gres=gpu:h200:8", "(IDX:0-9999)", "State=IDLE", "\n", "GresUsed=", "=")


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=30).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never more devices than there are, never anything but a refusal."""
    try:
        found = read(text)
    except InvalidInput:
        return
    assert all(n.count == len(n.free_bytes or [0] * n.count) for n in found.nodes)
