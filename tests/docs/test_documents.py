"""The documents hold together: blocks that are checked, JSON that is valid, links that lead."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

import documents
import rackfit
from documents import ROOT, Block
from rackfit.api.decoding import decode_body
from rackfit.catalog import load_catalog
from rackfit.memory.question import InspectRequest, MemoryRequest
from rackfit.memory.resolve import read_entry
from rackfit.planning.question import PlanRequest

DOCUMENTS = documents.documents()
BLOCKS = [block for path in DOCUMENTS for block in documents.blocks(path)]
TYPES: dict[str, type[msgspec.Struct]] = {
    named.__name__: named for named in (InspectRequest, MemoryRequest, PlanRequest)
}
CHECKED = {"console", "sh", "json"}
DRAWN = {"text"}

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> list[tuple[Path, str]]:
    """Return the file and anchor each link inside the repository leads to."""
    targets = re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text())
    pairs = [target.partition("#")[::2] for target in targets]
    return [((path.parent / file) if file else path, anchor) for file, anchor in pairs]


def test_documents_are_found() -> None:
    """The documents operators are sent to are among those that are checked."""
    names = {str(path.relative_to(ROOT)) for path in DOCUMENTS}

    assert {"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/runbook.md"} <= names


@each_document
def test_every_block_is_of_a_kind_that_is_checked(path: Path) -> None:
    """No block escapes the checks by its language, but for drawings; none is left open."""
    found = documents.blocks(path)

    assert {block.language for block in found} <= CHECKED | DRAWN
    assert 2 * len(found) == len(re.findall(r"^```", path.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "json"], ids=lambda block: block.name
)
def test_json_is_what_it_says(block: Block) -> None:
    """A block of JSON names its type behind the language, and a request is one that is taken."""
    decode_body(block.content.encode(), TYPES[block.about])


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    """Every link inside the repository has a file, and a heading, at its end."""
    for file, anchor in links(path):
        assert file.exists(), file
        assert not anchor or anchor in anchors(file), f"{file}#{anchor}"


def test_example_catalog_is_one() -> None:
    """The directory shown for RACKFIT_CATALOG_DIR loads, its model can be read."""
    catalog = load_catalog(ROOT / "docs/examples/catalog")
    shipped = load_catalog()

    assert {"acme/assistant-8b"} == catalog.models.keys() - shipped.models.keys()
    assert {"ACME-A1"} == catalog.accelerators.keys() - shipped.accelerators.keys()
    assert 36 == len(read_entry(catalog.models["acme/assistant-8b"])[0].layers)


def test_version_is_in_the_changelog() -> None:
    """The version of the package is the first that the changelog tells of."""
    text = (ROOT / "CHANGELOG.md").read_text()

    assert rackfit.__version__ == re.findall(r"^## \[([\d.]+)\]", text, flags=re.MULTILINE)[0]


def test_package_names_its_documents() -> None:
    """What pyproject.toml says of readme and licence is there, and the README names the licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert "README.md" == project["readme"]
    assert project["license"] in (ROOT / "README.md").read_text()
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
