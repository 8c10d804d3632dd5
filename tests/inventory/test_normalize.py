"""The registry of foreign formats, and what holds for every one of them."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.normalize import FORMATS, normalize
from rackfit.inventory.reading import MAX_DEVICES, MAX_NAME, Resolve

Make = Callable[..., dict[str, Any]]

DATA = Path(__file__).parent / "data"
RECORDED = [
    *[("kubernetes", path, None) for path in sorted(DATA.glob("kubectl_*.json"))],
    *[("nvidia-smi", path, "gpu-01") for path in sorted(DATA.glob("smi_*"))],
]
HOSTS = {"kubernetes": None, "slurm": None, "nvidia-smi": "gpu-01", "csv": None}

H100 = "NVIDIA-H100-80GB-HBM3"

QUANTITIES = st.one_of(
    st.integers(0, 16).map(str), st.sampled_from(["0", "2k", "500m", "x", -1, "9" * 60, None])
)
LABELS = st.dictionaries(
    st.sampled_from(
        ["nvidia.com/gpu.product", "nvidia.com/gpu.memory", "nvidia.com/gpu.clique", "rack"]
    ),
    st.sampled_from([H100, "NVIDIA-A10", "81559", "1", "", "x" * 300, None]),
)
RESOURCES = st.sampled_from(["nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.10gb", "cpu"])
SPECS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"unschedulable": st.sampled_from([True, False, None, "yes"])}),
    st.fixed_dictionaries({"containers": st.none() | st.lists(st.just({}) | st.none())}),
)
OBJECTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["Node", "Pod", "Service", None]),
        "metadata": st.fixed_dictionaries(
            {"name": st.sampled_from(["a", "b", "", None]), "labels": LABELS}
        ),
        "spec": SPECS,
        "status": st.dictionaries(
            st.sampled_from(["allocatable", "capacity"]), st.dictionaries(RESOURCES, QUANTITIES)
        ),
    }
)
WHOLE = st.fixed_dictionaries(
    {
        "labels": st.sampled_from(
            [
                {"nvidia.com/gpu.product": H100, "nvidia.com/gpu.memory": "65536"},
                {"nvidia.com/gpu.product": H100, "rack": "r1"},
                {"nvidia.com/gpu.product": "NVIDIA-A10-SHARED"},
                {"nvidia.com/gpu.product": "unknown"},
                {},
            ]
        ),
        "allocatable": st.dictionaries(RESOURCES, st.integers(0, 16).map(str)),
        "spec": st.sampled_from([{}, {}, {"unschedulable": True}]),
        "ready": st.sampled_from(["True", "True", "Unknown"]),
    }
)
CELLS = st.sampled_from(
    [
        *("index", "name", "memory.total [MiB]", "memory.used [MiB]", "mig.mode.current"),
        *("0", "1", "2", "NVIDIA A10", "NVIDIA H100 80GB HBM3", "23028 MiB", "4", "[N/A]"),
        *("Enabled", "", "é"),
    ]
)
TABLES = st.lists(st.lists(CELLS, max_size=5).map(", ".join), max_size=6).map("\n".join)
GPUS = st.tuples(
    st.sampled_from(["NVIDIA A10", "NVIDIA H100 80GB HBM3", "NVIDIA T400 4GB"]),
    st.integers(23_000, 90_000),
    st.one_of(st.integers(0, 23_000).map("{} MiB".format), st.sampled_from(["[N/A]", "ERR!"])),
    st.sampled_from(["Enabled", "Disabled", "Disabled", "[N/A]"]),
)


def outcome(resolve: Resolve, format_name: str, body: bytes) -> Inventory | None:
    """Read `body`; None where it is refused."""
    try:
        return normalize(format_name, body, resolve, node=HOSTS[format_name])
    except InvalidInput as error:
        if not error.violations:
            raise
        return None


def check(inventory: Inventory | None) -> None:
    """Assert what a plan asks of an inventory, whoever made it."""
    if inventory is None:
        return
    assert inventory == msgspec.json.decode(msgspec.json.encode(inventory), type=Inventory)
    names = [node.name for node in inventory.nodes]
    assert len(set(names)) == len(names)
    for node in inventory.nodes:
        assert node.free_bytes is None or len(node.free_bytes) == node.count


@pytest.mark.parametrize(
    ("format_name", "path", "node"), RECORDED, ids=[path.name for _, path, _ in RECORDED]
)
def test_a_plan_accepts_what_was_read_unchanged(
    resolve: Resolve, format_name: str, path: Path, node: str | None
) -> None:
    """What goes out as JSON comes back in as a plan's inventory, the same on every reading."""
    read = functools.partial(normalize, format_name, path.read_bytes(), resolve, node=node)
    if path.name == "smi_no_driver.txt":
        with pytest.raises(InvalidInput):
            read()
        return
    inventory = read()
    check(inventory)
    assert inventory == read()


def test_an_unknown_format_lists_the_known_ones(resolve: Resolve) -> None:
    """The query parameter is pointed at."""
    with pytest.raises(InvalidInput) as caught:
        normalize("slurm?", b"", resolve)
    (violation,) = caught.value.violations
    assert "?format" == violation.pointer
    assert (
        "There is no format 'slurm?'. Known: kubernetes, slurm, nvidia-smi, csv."
        == violation.detail
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("recorded", ["kubectl_nodes.json", "smi_noheader_nounits.csv"])
def test_a_byte_order_mark_does_no_harm(resolve: Resolve, recorded: str, encoding: str) -> None:
    """PowerShell's `>` writes UTF-16, and other tools of Windows a mark before UTF-8."""
    format_name = "kubernetes" if recorded.endswith("json") else "nvidia-smi"
    plain = (DATA / recorded).read_bytes()
    marked = plain.decode().encode(encoding)
    expected = outcome(resolve, format_name, plain)
    assert expected is not None
    assert expected == outcome(resolve, format_name, marked)


@pytest.mark.parametrize("body", [b"0, \xff", b"\xff\xfe0"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_body_that_is_no_text_is_refused(resolve: Resolve, format_name: str, body: bytes) -> None:
    """Neither UTF-8 nor UTF-16."""
    with pytest.raises(InvalidInput, match=r"is not UTF-(8|16) text"):
        normalize(format_name, body, resolve, node=HOSTS[format_name])


def test_with_nothing_usable_every_reason_is_told(resolve: Resolve, node_object: Make) -> None:
    """A cluster all of whose nodes are cordoned is an answer: no nodes, and why."""
    items = [node_object(f"gpu-{i:02}", spec={"unschedulable": True}) for i in range(13)]
    found = normalize("kubernetes", json.dumps({"items": items}).encode(), resolve)
    assert [] == found.nodes
    assert [Skipped(f"gpu-{i:02}", "cordoned") for i in range(13)] == found.skipped


def test_more_nodes_than_a_plan_takes_are_refused(
    resolve: Resolve, node_object: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan would not accept is not handed out."""
    monkeypatch.setattr("rackfit.inventory.reading.MAX_NODES", 1)
    items = [node_object("a"), node_object("b")]
    with pytest.raises(InvalidInput, match="2 nodes are more than 1"):
        normalize("kubernetes", json.dumps({"items": items}).encode(), resolve)
    for format_, told in (
        ("csv", b"name,accelerator,count\na,b,1\nc,d,1\n"),
        ("slurm", b"NodeName=a\nNodeName=b\n"),
        ("slurm", b'{"nodes": [{"name": "a"}, {"name": "b"}]}'),
    ):
        with pytest.raises(InvalidInput, match="2 nodes are more than 1"):
            normalize(format_, told, resolve)


@pytest.mark.parametrize(
    "field", [{"count": MAX_DEVICES + 1}, {"name": "x" * (MAX_NAME + 1)}], ids=["count", "name"]
)
def test_the_readers_bounds_are_those_of_a_node(field: dict[str, Any]) -> None:
    """The most a reader lets through is the most a node of a plan's inventory may have."""
    most = {"accelerator": "a", "name": "x" * MAX_NAME, "count": MAX_DEVICES}
    assert MAX_DEVICES == msgspec.convert(most, Node).count
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(most | field, Node)


@given(body=st.binary(max_size=200), format_name=st.sampled_from(sorted(FORMATS)))
@example(body=b"{" * 100_000, format_name="kubernetes")
@example(body=b'{"items":[{"metadata":{"name":"\\ud800"}}]}', format_name="kubernetes")
@example(
    body=b'{"items":[{"metadata":{"name":"a"},"spec":' + b"[" * 100_000, format_name="kubernetes"
)
def test_no_bytes_break_a_reader(resolve: Resolve, body: bytes, format_name: str) -> None:
    """Anything at all is read or refused."""
    check(outcome(resolve, format_name, body))


@given(items=st.lists(OBJECTS, max_size=5))
def test_no_kubernetes_objects_break_the_reader(
    resolve: Resolve, items: list[dict[str, Any]]
) -> None:
    """Nodes and pods with any labels and quantities are read or refused."""
    check(outcome(resolve, "kubernetes", json.dumps({"items": items}).encode()))


@given(changes=st.lists(WHOLE, min_size=1, max_size=6))
def test_every_kubernetes_node_is_kept_or_left_out(
    resolve: Resolve, node_object: Make, changes: list[dict[str, Any]]
) -> None:
    """Each node is kept, skipped or among those without GPUs, and none has more than it had."""
    usable = {"labels": {"nvidia.com/gpu.product": H100}, "allocatable": {"nvidia.com/gpu": "8"}}
    items = [node_object(f"gpu-{i}", **each) for i, each in enumerate([usable, *changes])]
    inventory = outcome(resolve, "kubernetes", json.dumps({"items": items}).encode())
    assert inventory is not None
    check(inventory)
    told = {node.name for node in inventory.nodes} | {left.name for left in inventory.skipped}
    assert {item["metadata"]["name"] for item in items if has_devices(item)} <= told
    had = {item["metadata"]["name"]: item["status"]["allocatable"] for item in items}
    assert all(str(node.count) in had[node.name].values() for node in inventory.nodes)


def has_devices(item: dict[str, Any]) -> bool:
    """Tell whether a Node of `WHOLE` has devices or a product's name."""
    allocatable = item["status"]["allocatable"]
    counts = [count for name, count in allocatable.items() if name != "cpu"]
    return "nvidia.com/gpu.product" in item["metadata"]["labels"] or any(map(int, counts))


@given(table=TABLES)
def test_no_table_breaks_the_reader(resolve: Resolve, table: str) -> None:
    """Rows and headers of any cells are read or refused."""
    check(outcome(resolve, "nvidia-smi", table.encode()))


@given(gpus=st.lists(GPUS, min_size=1, max_size=9))
def test_every_gpu_of_a_host_is_kept_or_left_out(
    resolve: Resolve, gpus: list[tuple[str, int, str, str]]
) -> None:
    """Each GPU is in one node or skipped, and none has more free than it has."""
    idle = ("NVIDIA H100 80GB HBM3", 81_559, "0 MiB", "Disabled")
    rows = [
        f"{index}, {name}, {total} MiB, {used}, {mig}"
        for index, (name, total, used, mig) in enumerate([idle, *gpus])
    ]
    header = "index, name, memory.total [MiB], memory.used [MiB], mig.mode.current"
    inventory = outcome(resolve, "nvidia-smi", "\r\n".join([header, *rows]).encode())
    assert inventory is not None
    check(inventory)
    kept = sum(node.count for node in inventory.nodes)
    assert len(rows) == kept + len(inventory.skipped)
    free = sum(sum(node.free_bytes or ()) for node in inventory.nodes)
    assert free <= sum(total for _, total, _, _ in [idle, *gpus]) << 20


def corrupted(draw: st.DrawFn) -> Iterator[bytes]:
    """Yield the pieces of a recorded output with a stretch replaced."""
    _, path, _ = draw(st.sampled_from([each for each in RECORDED if each[0] == "nvidia-smi"]))
    body = path.read_bytes()
    start = draw(st.integers(0, len(body)))
    yield body[:start]
    yield draw(st.binary(max_size=8))
    yield body[start + draw(st.integers(0, 40)) :]


@settings(max_examples=50)
@given(body=st.composite(lambda draw: b"".join(corrupted(draw)))())
def test_a_recorded_table_with_a_hole_is_read_or_refused(resolve: Resolve, body: bytes) -> None:
    """Output cut or garbled on its way breaks nothing."""
    check(outcome(resolve, "nvidia-smi", body))
