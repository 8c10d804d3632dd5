"""The code is built as ARCHITECTURE.md says: who may import whom, and what belongs where.

The table in the document is the rule; the tests that follow it are what no table may change.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import ROOT
from rackfit.engines import ENGINES

PACKAGE = ROOT / "service/rackfit"
PURE = ("architecture", "engines", "memory", "inventory", "balancing", "performance", "planning")
ARRAYS = {"balancing": {"numpy", "highspy"}}
"""Libraries that calculate and no more, by the pure part that needs them."""

CALCULATING = {
    "abc",
    "bisect",
    "collections",
    "csv",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "shlex",
    "struct",
    "types",
    "typing",
}
"""Modules of the standard library that read no file, clock, environment or socket."""

ACTING = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}


def _table() -> dict[str, tuple[set[str], set[str]]]:
    """Return by part what it may import of Rackfit, and what else."""
    row = r"^\| `(\w+)` \|[^|]+\|([^|]*)\|([^|]*)\|$"
    rows = re.findall(row, (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE)
    return {
        part: (set(re.findall(r"`(\w+)`", ours)), set(re.findall(r"`(\w+)`", others)))
        for part, ours, others in rows
    }


TABLE = _table()
MODULES = sorted(PACKAGE.rglob("*.py"))
each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def part_of(path: Path) -> str:
    """Return the row a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text())


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of each module or object a module imports, wherever it does."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    """Return the rows a module imports from."""
    ours = [name.split(".") for name in imported(path) if name.startswith("rackfit.")]
    return {steps[1] for steps in ours} - {"__version__"}


def libraries_imported(path: Path) -> set[str]:
    """Return the top names of what a module imports from outside Rackfit."""
    return {name.split(".")[0] for name in imported(path)} - {"rackfit"}


def strings(path: Path) -> set[str]:
    """Return every string constant of a module."""
    nodes = ast.walk(tree_of(path))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def test_every_part_has_a_row() -> None:
    """The table lists all packages and modules of the service and none that is gone."""
    assert set(TABLE) == {part_of(path) for path in MODULES} - {"__init__"}


def test_no_way_leads_back() -> None:
    """A part may import parts above it in the table alone, so there can be no circle."""
    order = list(TABLE)

    for place, (part, (ours, _)) in enumerate(TABLE.items()):
        assert set() == ours - set(order[:place]), part


@each_module
def test_module_imports_what_its_row_allows(path: Path) -> None:
    """What a module imports stands in its part's row, or is its own part or the stdlib."""
    ours, others = TABLE.get(part_of(path), (set(), set()))

    assert set() == parts_imported(path) - ours - {part_of(path)}
    assert set() == libraries_imported(path) - others - sys.stdlib_module_names


def test_only_wiring_knows_the_edge() -> None:
    """Nothing imports `api` but the application, which the server loads by its name."""
    importers = {part: {p for p, (ours, _) in TABLE.items() if part in ours} for part in TABLE}

    assert {"application"} == importers["api"]
    assert set() == importers["application"]
    assert {"__main__"} == importers["server"]
    assert set() == importers["__main__"]


@pytest.mark.parametrize(
    ("library", "parts"),
    [
        ("litestar", {"api", "application"}),
        ("redis", {"caching"}),
        ("uvicorn", {"server"}),
        ("prometheus_client", {"api", "metrics"}),
        ("numpy", {"balancing"}),
        ("highspy", {"balancing"}),
    ],
)
def test_library_is_known_to_few(library: str, parts: set[str]) -> None:
    """A framework, a client or a server is known where it is used and nowhere else."""
    assert parts == {part for part, (_, others) in TABLE.items() if library in others}


@pytest.mark.parametrize("part", PURE)
def test_pure_part_may_import_no_library_that_acts(part: str) -> None:
    """A pure part has msgspec, what calculates, Rackfit's pure parts, catalog and errors."""
    ours, others = TABLE[part]

    assert {"msgspec", *ARRAYS.get(part, ())} == others
    assert set() == ours - {*PURE, "catalog", "errors", "lazy"}


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) in PURE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_pure_module_only_calculates(path: Path) -> None:
    """No file, clock, environment, console or global variable, and no loading of catalogs."""
    names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
    catalog = {name for name in imported(path) if name.startswith("rackfit.catalog")}
    from_entries = {name for name in catalog if name.startswith("rackfit.catalog.entries.")}

    allowed = {*CALCULATING, "msgspec", *ARRAYS.get(part_of(path), ())}
    assert set() == libraries_imported(path) - allowed
    assert set() == names & ACTING
    assert not any(isinstance(node, ast.Global) for node in ast.walk(tree_of(path)))
    assert set() == catalog - from_entries - {"rackfit.catalog.Catalog"}


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) != "engines"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_nobody_else_asks_which_engine_it_is(path: Path) -> None:
    """The name of an engine stands in no module outside `engines`."""
    assert set() == strings(path) & set(ENGINES)


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) != "architecture"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_nobody_after_the_reader_asks_for_the_family(path: Path) -> None:
    """`model_type` is a word of `architecture` alone."""
    assert "model_type" not in strings(path)
