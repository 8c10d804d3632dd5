"""What `nvidia-smi --query-gpu=... --format=csv` prints, read as an inventory."""

from pathlib import Path

import pytest

from rackfit.catalog import Catalog
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.normalize import normalize
from rackfit.inventory.reading import Resolve

MIB = 1 << 20
H100 = "NVIDIA-H100-80GB-HBM3"
HEADER = "index, name, memory.total [MiB], memory.used [MiB]\n"
ROW = "0, NVIDIA H100 80GB HBM3, 81559 MiB, 4 MiB\n"


def read(resolve: Resolve, text: str, node: str | None = "gpu-01") -> Inventory:
    """Read what was printed on `gpu-01`."""
    return normalize("nvidia-smi", text.encode(), resolve, node=node)


def refusal(resolve: Resolve, text: str) -> str:
    """Return why `text` is refused; the pointer is the whole body."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, text)
    (violation,) = caught.value.violations
    assert "" == violation.pointer
    return violation.detail


def recorded(data: Path, name: str) -> str:
    """Return a recorded output as it is, line ends included."""
    return (data / name).read_bytes().decode()


def test_an_idle_host_is_one_node_with_all_memory_free(resolve: Resolve, data: Path) -> None:
    """A few MiB in use are the driver's: the GPUs are free, and so `free_bytes` is left out."""
    inventory = read(resolve, recorded(data, "smi_idle.csv"))
    assert Inventory(nodes=[Node(name="gpu-01", accelerator=H100, count=8)]) == inventory


def test_a_gpu_in_use_has_free_its_total_less_what_is_used(resolve: Resolve, data: Path) -> None:
    """One GPU in use gives every GPU of the node its free bytes."""
    inventory = read(resolve, recorded(data, "smi_busy.csv"))
    expected = [(81_559 - 76_321) * MIB] * 2 + [(81_559 - 4) * MIB] * 6
    assert expected == inventory.nodes[0].free_bytes


def test_neither_header_nor_units_are_needed(resolve: Resolve, data: Path) -> None:
    """The usual columns are understood bare, with Windows line ends and empty lines."""
    inventory = read(resolve, recorded(data, "smi_noheader_nounits.csv"))
    free_bytes = [(81_559 - 4) * MIB, (81_559 - 30_512) * MIB]
    expected = Node(name="gpu-01", accelerator=H100, count=2, free_bytes=free_bytes)
    assert [expected] == inventory.nodes


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROW,
        ROW,
        "index, name, memory.total [MiB], memory.used [MiB]\n0, NVIDIA H100 80GB HBM3, 81559, 4",
        "name, memory.used [MiB], index\nNVIDIA H100 80GB HBM3, 4 MiB, 0",
        "\n\r\n" + HEADER + ROW + "\n",
        "name\nNVIDIA H100 80GB HBM3\n",
    ],
    ids=["plain", "noheader", "nounits", "reordered", "empty lines", "name alone"],
)
def test_the_same_gpu_in_every_dress_is_the_same_node(resolve: Resolve, text: str) -> None:
    """Header, units, order and empty lines are dress."""
    assert [Node(name="gpu-01", accelerator=H100, count=1)] == read(resolve, text).nodes


def test_each_product_of_a_host_is_a_node(resolve: Resolve, data: Path) -> None:
    """The first product has the host's name; the next has its own after it, and MIG is out."""
    inventory = read(resolve, recorded(data, "smi_two_products.csv"))
    expected = [
        Node(
            name="gpu-01",
            accelerator="NVIDIA-A10",
            count=2,
            free_bytes=[13_396 * MIB, 22_606 * MIB],
        ),
        Node(
            name="gpu-01/NVIDIA-A100-SXM4-80GB",
            accelerator="NVIDIA-A100-SXM4-80GB",
            count=1,
        ),
    ]
    assert expected == inventory.nodes
    mig = "GPU 3: MIG is enabled, and its instances are not planned on"
    assert [Skipped("gpu-01", mig)] == inventory.skipped
    assert [
        (
            "gpu-01 has 2 products, and a node has one: they are the nodes "
            "'gpu-01', 'gpu-01/NVIDIA-A100-SXM4-80GB'."
        ),
        "Devices 0 to 1 of gpu-01 are the host's GPUs 0, 2.",
        "Device 0 of gpu-01/NVIDIA-A100-SXM4-80GB is the host's GPU 1.",
    ] == inventory.warnings


def test_a_faulty_gpu_is_left_out_and_a_remark_passed_on(resolve: Resolve, data: Path) -> None:
    """A lost GPU and one whose memory cannot be read are skipped; the others are the node."""
    inventory = read(resolve, recorded(data, "smi_faults.csv"))
    assert [Node(name="gpu-01", accelerator=H100, count=2)] == inventory.nodes
    assert [
        Skipped(
            "gpu-01", "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error"
        ),
        Skipped("gpu-01", "GPU 2: memory.total reads [GPU requires reset]"),
    ] == inventory.skipped
    assert [
        "WARNING: infoROM is corrupted at gpu 0000:CA:00.0",
        "Devices 0 to 1 of gpu-01 are the host's GPUs 0, 3.",
    ] == inventory.warnings


def test_a_mig_instance_in_a_container_is_left_out(resolve: Resolve, data: Path) -> None:
    """Inside a MIG instance memory is not permitted to be read, and nothing is left."""
    inventory = read(resolve, recorded(data, "smi_mig_in_container.csv"))
    assert [] == inventory.nodes
    reason = "GPU 0: memory.total reads [Insufficient Permissions]"
    assert [Skipped("gpu-01", reason)] == inventory.skipped


@pytest.mark.parametrize("used", ["[N/A]", "[Not Supported]", "[Unknown Error]", "N/A", "ERR!"])
def test_memory_that_is_not_told_is_not_taken_for_free(resolve: Resolve, used: str) -> None:
    """A GPU whose memory in use is unknown is left out."""
    inventory = read(resolve, f"{HEADER}0, NVIDIA H100 80GB HBM3, 81559 MiB, {used}\n")
    assert [] == inventory.nodes
    assert [Skipped("gpu-01", f"GPU 0: memory.used reads {used}")] == inventory.skipped
    assert [] == inventory.warnings


def test_without_a_column_on_use_gpus_look_free_with_a_warning(resolve: Resolve) -> None:
    """What was not asked for is not known."""
    inventory = read(resolve, "index, name\n0, NVIDIA H100 80GB HBM3\n")
    assert inventory.nodes[0].free_bytes is None
    assert [
        "Neither memory.used nor memory.free is listed, so GPUs in use look free."
    ] == inventory.warnings


def test_memory_in_use_is_taken_off_the_catalogs_total_where_no_total_is_listed(
    resolve: Resolve,
) -> None:
    """The product's total is known without the column."""
    inventory = read(resolve, "name, memory.used [MiB]\nNVIDIA H100 80GB HBM3, 10000 MiB\n")
    assert [(81_559 - 10_000) * MIB] == inventory.nodes[0].free_bytes


def test_memory_beside_the_catalogs_is_remarked_on_and_never_exceeds_it(resolve: Resolve) -> None:
    """With ECC off a GPU has more memory; a plan takes free memory up to the catalog's."""
    text = f"{HEADER}0, NVIDIA A10, 24564 MiB, 0 MiB\n1, NVIDIA A10, 24564 MiB, 9000 MiB\n"
    inventory = read(resolve, text)
    assert [23_028 * MIB, 15_564 * MIB] == inventory.nodes[0].free_bytes
    (warning,) = inventory.warnings
    assert warning.startswith("NVIDIA-A10 reports 24,564 MiB of memory, but the catalog has 23,028")


def test_a_gpu_with_nearly_all_memory_free_is_idle(resolve: Resolve) -> None:
    """The driver's own figure of an idle GPU is a little less than what an engine sees."""
    inventory = read(resolve, "name, memory.free [MiB]\nNVIDIA H100 80GB HBM3, 81076 MiB\n")
    assert inventory.nodes[0].free_bytes is None


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("NVIDIA H100, 95830 MiB, 0 MiB", "NVIDIA-H100-SXM5-94GB"),
        ("NVIDIA H100, 65247 MiB, 0 MiB", "NVIDIA-H100-SXM5-64GB"),
        ("NVIDIA H100 80GB HBM3, 81559 MiB, 0 MiB", "NVIDIA-H100-80GB-HBM3"),
        ("NVIDIA GeForce RTX 4090, 49140 MiB, 0 MiB", "NVIDIA-GeForce-RTX-4090-48GB"),
        ("NVIDIA GeForce RTX 4090, 24564 MiB, 0 MiB", "NVIDIA-GeForce-RTX-4090"),
    ],
)
def test_the_memory_printed_tells_which_part_it_is(
    catalog: Catalog, printed: str, expected: str
) -> None:
    """Drivers print one name for several parts, and nothing is assumed of which it is."""
    text = f"index, name, memory.total [MiB], memory.used [MiB], mig.mode.current\n0, {printed}"
    inventory = read(catalog.accelerator, f"{text}, Disabled\n")
    node = Node(name="gpu-01", accelerator=expected, count=1)
    assert Inventory(nodes=[node]) == inventory


def test_two_cards_of_one_name_and_different_memory_are_two_products(catalog: Catalog) -> None:
    """A rebuilt card beside one as it is sold."""
    rows = ("24564", "49140")
    text = "".join(f"{i}, NVIDIA GeForce RTX 4090, {m} MiB, 0 MiB\n" for i, m in enumerate(rows))
    nodes = read(catalog.accelerator, text).nodes
    expected = ["NVIDIA-GeForce-RTX-4090", "NVIDIA-GeForce-RTX-4090-48GB"]
    assert expected == [node.accelerator for node in nodes]


def test_without_the_column_on_mig_a_part_that_has_it_may_not_be_whole(catalog: Catalog) -> None:
    """The usual query does not tell, so the answer says which one does."""
    (warning,) = read(catalog.accelerator, HEADER + ROW).warnings
    assert warning.startswith("mig.mode.current is not listed, so a GPU with MIG enabled looks")
    assert "--query-gpu=index,name,memory.total,memory.used,mig.mode.current" in warning


def test_a_part_without_mig_is_whole(catalog: Catalog) -> None:
    """Nothing is said of MIG where the part cannot be divided."""
    text = f"{HEADER}0, NVIDIA GeForce RTX 3090, 24576 MiB, 1 MiB\n"
    assert [] == read(catalog.accelerator, text).warnings


def test_the_column_on_mig_is_read_without_a_header_too(resolve: Resolve) -> None:
    """The query that tells of MIG prints five columns."""
    row = ROW.strip()
    inventory = read(resolve, f"{row}, Disabled\n1{row[1:]}, Enabled\n2{row[1:]}, [N/A]\n")
    assert 2 == inventory.nodes[0].count
    assert "GPU 1: MIG is enabled" in inventory.skipped[0].reason


def test_five_other_columns_without_a_header_are_refused(resolve: Resolve) -> None:
    """A fifth column that is no MIG mode may be anything."""
    assert "5 columns without a header" in refusal(resolve, f"{ROW.strip()}, 81555 MiB\n")


@pytest.mark.parametrize("untold", ["[N/A]", "[Not Supported]"])
def test_memory_that_the_cpu_uses_too_is_the_catalogs(catalog: Catalog, untold: str) -> None:
    """On such a part nvidia-smi has no memory to tell, which is no defect of the GPU."""
    inventory = read(catalog.accelerator, f"{HEADER}0, NVIDIA GB10, {untold}, {untold}\n")
    assert [Node(name="gpu-01", accelerator="NVIDIA-GB10", count=1)] == inventory.nodes
    (warning,) = inventory.warnings
    assert warning.startswith("nvidia-smi does not tell the memory of NVIDIA-GB10, which its CPU")
    assert "the catalog's 119.6 GiB are taken for free" in warning


def test_a_gpu_that_must_be_reset_is_left_out_whatever_its_memory(catalog: Catalog) -> None:
    """An error in place of memory is a defect on every part."""
    text = f"{HEADER}0, NVIDIA GB10, [GPU requires reset], [GPU requires reset]\n"
    assert [] == read(catalog.accelerator, text).nodes


def test_an_unknown_product_is_left_out_by_name(resolve: Resolve) -> None:
    """The GPUs the catalog knows remain."""
    inventory = read(resolve, f"{HEADER}{ROW}1, NVIDIA T400 4GB, 4096 MiB, 0 MiB\n")
    assert 1 == inventory.nodes[0].count
    assert "GPU 1: unknown product: " in inventory.skipped[0].reason
    assert "'NVIDIA T400 4GB'" in inventory.skipped[0].reason


def test_a_driver_that_does_not_answer_is_quoted(resolve: Resolve, data: Path) -> None:
    """Where nvidia-smi prints a sentence for a table, that sentence is the error."""
    assert "couldn't communicate with the NVIDIA driver" in refusal(
        resolve, recorded(data, "smi_no_driver.txt")
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "Nothing is listed: send what `nvidia-smi --query-gpu="),
        ("No devices were found\n", "lists no GPU but says: 'No devices were found'."),
        ("Failed to initialize NVML: Driver/library version mismatch\n", "Failed to initialize"),
        (HEADER, "The body lists no accelerator."),
        ("index, memory.total [MiB]\n0, 81559 MiB\n", "Line 1: the header has no `name` column"),
        (f"{HEADER}{'a, ' * 10_000}\n", "Line 2: more than 20,000 characters are no GPU's row"),
        ("0, NVIDIA H100 80GB HBM3, 4\n", "Line 1: 3 columns without a header"),
        (f"{HEADER}0, NVIDIA H100 80GB HBM3\n", "Line 2: 2 columns instead of 4"),
        (f"{HEADER}x, NVIDIA H100 80GB HBM3, 1, 0\n", "Line 2: the index 'x' is not a GPU's"),
        (f"{HEADER}\n{ROW}{ROW}", "Line 4: GPU 0 comes twice; send one host at a time"),
        (f"{HEADER}{ROW}{HEADER}", "Line 3: the index 'index' is not a GPU's"),
        (f"{HEADER}0, A, 80 GiB, 0\n", "Line 2: memory.total is '80 GiB', not a number of MiB"),
        (f"{HEADER}0, A, -5 MiB, 0\n", "Line 2: memory.total is '-5 MiB'"),
        (f"{HEADER}0, A, {'9' * 10} MiB, 0\n", "Line 2: memory.total is '9999999999 MiB'"),
        (f"{HEADER}0, A, 5 MiB, 6 MiB\n", "Line 2: more memory is used or free than there is"),
        ("\n" * 10_001, "More than 10,000 lines are not the GPUs of one host."),
        ("name\n" + "NVIDIA A10\n" * 1_025, "1,025 GPUs on one host are more than 1,024."),
    ],
)
def test_what_is_no_such_table_names_the_line(resolve: Resolve, text: str, detail: str) -> None:
    """A text format has no pointers, so the sentence tells the line."""
    assert detail in refusal(resolve, text)


@pytest.mark.parametrize("node", [None, "", "x" * 254])
def test_a_host_name_is_needed(resolve: Resolve, node: str | None) -> None:
    """The output does not name its host."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, HEADER + ROW, node)
    assert "?node" == caught.value.violations[0].pointer


def test_a_host_name_leaves_room_for_a_second_product(resolve: Resolve) -> None:
    """A node's name is at most 253 characters, the product's after it included."""
    with pytest.raises(InvalidInput) as caught:
        read(resolve, f"{HEADER}{ROW}1, NVIDIA A10, 23028 MiB, 0 MiB\n", "x" * 250)
    assert "?node" == caught.value.violations[0].pointer
