"""A table of one's own, as an inventory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node
from rackfit.inventory.normalize import normalize

CATALOG = load_catalog()
EXAMPLE = (Path(__file__).parents[2] / "docs/examples/nodes.csv").read_bytes()


def read(text: str) -> Inventory:
    """Read a table."""
    return normalize("csv", text.encode(), CATALOG.accelerator)


def test_a_table_is_an_inventory() -> None:
    """Names of accelerators as people write them; one number of bytes stands for all devices."""
    found = normalize("csv", EXAMPLE, CATALOG.accelerator)
    assert found.nodes == [
        Node(name="gpu-01", accelerator="NVIDIA-H200", count=8, rack="r1"),
        Node(
            name="gpu-02",
            accelerator="NVIDIA-H200",
            count=8,
            free_bytes=[100_000_000_000] * 8,
            rack="r1",
        ),
        Node(
            name="edge-01",
            accelerator="NVIDIA-L4",
            count=2,
            free_bytes=[23_000_000_000, 0],
            rack="r9",
        ),
    ]


def test_columns_come_in_any_order_and_case_with_quotes_and_a_mark() -> None:
    """As spreadsheets write them."""
    found = read('\ufeffCount, "Name" ,ACCELERATOR\r\n8,"a, b",h200\r\n\r\n')
    assert found.nodes == [Node(name="a, b", accelerator="NVIDIA-H200", count=8)]


def test_an_unknown_accelerator_is_left_out() -> None:
    """And the others are not."""
    found = read("name,accelerator,count\na,z9000,8\nb,h200,8\n")
    assert [node.name for node in found.nodes] == ["b"]
    assert [one.name for one in found.skipped] == ["a"]


HEAD = "name,accelerator,count,free_bytes\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "," * 20_001, "Line 2: more than 20,000 characters are no node"),
        ("", "name, accelerator, count must be among"),
        ("a,h200,8\n", "name, accelerator, count must be among"),
        ("name,accelerator\na,h200\n", "count must be among"),
        ("name,accelerator,count,colour\n", "colour is not"),
        ("name,accelerator,count,count\n", "each once"),
        (HEAD + "a,h200,8\n", "Line 2: 3 cells for 4 columns"),
        (HEAD + "a,h200,8,,\n", "Line 2: 5 cells"),
        (HEAD + ",h200,8,\n", "Line 2: a name has"),
        (HEAD + "a,h200,0,\n", "Line 2: count is"),
        (HEAD + "a,h200,1025,\n", "Line 2: count is"),
        (HEAD + "a,h200,-8,\n", "Line 2: count is"),
        (HEAD + "a,h200,eight,\n", "Line 2: count is"),
        (HEAD + "a,h200,8,1;2\n", "Line 2: free_bytes is one"),
        (HEAD + "a,h200,8,80GB\n", "Line 2: free_bytes is one"),
        (HEAD + "a,h200,8,999999999999999\n", "Line 2: NVIDIA-H200 has"),
        (HEAD + "a,h200,8,\na,h200,8,\n", "Line 3: the node 'a' is there twice"),
    ],
)
def test_a_wrong_table_is_told_by_its_line(text: str, said: str) -> None:
    """And with what would be right."""
    with pytest.raises(InvalidInput, match=said):
        read(text)


def test_the_table_names_its_nodes() -> None:
    """`node` is for formats that do not."""
    with pytest.raises(InvalidInput, match="names its nodes itself"):
        normalize("csv", EXAMPLE, CATALOG.accelerator, node="x")


@given(st.text(alphabet='name,accelertou\n"8;h20\r\0', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never anything but a refusal."""
    for given_text in (text, HEAD + text):
        try:
            read(given_text)
        except InvalidInput:
            continue
