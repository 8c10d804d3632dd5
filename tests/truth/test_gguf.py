"""Sizes of GGUF files by file type, as llama.cpp and its users measured them."""

import csv
import json
from pathlib import Path

import msgspec
import pytest

from rackfit.architecture.gguf import recipes
from rackfit.architecture.gguf.recipes import Choice
from rackfit.catalog.load import Catalog, load_catalog
from rackfit.engines.choice import EngineChoice
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectAnswer, InspectRequest, ModelRef

DATA = Path(__file__).parent / "data"
GIB = 1 << 30
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
with (DATA / "gguf_llama_3.1_8b.csv").open() as table:
    LLAMA_FILES = {row["scheme"]: row for row in csv.DictReader(table)}
FILES = {row["id"]: row for row in json.loads((DATA / "gguf_files.json").read_text())}
MADE_BY_RULE = [name for name, row in FILES.items() if "explained" not in row]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


def inspect(catalog: Catalog, model: str, file_type: str) -> InspectAnswer:
    """Inspect a catalog model in a GGUF of some type."""
    engine = EngineChoice(name="llama.cpp")
    asked = InspectRequest(model=ModelRef(id=model), quantization=file_type, engine=engine)
    return inspect_model(asked, catalog)


def gib(catalog: Catalog, row: dict[str, str]) -> float:
    """Return the size of a row's file."""
    return inspect(catalog, row["model"], row["file_type"]).checkpoint_bytes / GIB


@pytest.mark.parametrize("file_type", LLAMA_FILES)
def test_llama_8b_has_the_published_size_to_the_last_digit(
    catalog: Catalog, file_type: str
) -> None:
    """Bits per weight and GiB of each file type, as llama.cpp's own table prints them."""
    row, answer = LLAMA_FILES[file_type], inspect(catalog, LLAMA, file_type)
    bits = answer.checkpoint_bytes * 8 / answer.parameters.total
    assert row["bits_per_weight"] == f"{bits:.4f}"
    assert row["file_gib"] == f"{answer.checkpoint_bytes / GIB:.2f}"


@pytest.mark.parametrize("name", MADE_BY_RULE)
def test_files_have_the_size_that_was_measured(catalog: Catalog, name: str) -> None:
    """Dense, grouped, latent and hybrid attention, mixtures, drafts and towers: within 1 %."""
    assert FILES[name]["file_gib"] == pytest.approx(gib(catalog, FILES[name]), rel=0.01)


def test_bits_per_weight_are_printed_alike(catalog: Catalog) -> None:
    """Where a log says bits per weight too, ours round to the same two decimals, give or take."""
    for name in MADE_BY_RULE:
        if "bits_per_weight" in (row := FILES[name]):
            answer = inspect(catalog, row["model"], row["file_type"])
            bits = answer.checkpoint_bytes * 8 / answer.parameters.total
            assert row["bits_per_weight"] == pytest.approx(bits, abs=0.006)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("gguf-q3-235b", 104.72),
        ("gguf-q3-32b", 18.40),
        ("gguf-mixtral-Q3_K_M", 21.00),
        ("gguf-mixtral-Q2_K", 16.12),
    ],
)
def test_files_made_by_other_rules_differ_and_say_why(
    catalog: Catalog, name: str, ours: float
) -> None:
    """The rules of the file's name give another size, which is what such files have today."""
    assert FILES[name]["explained"]
    assert ours == pytest.approx(gib(catalog, FILES[name]), abs=0.005)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("gguf-q3-32b", {"value": recipes.always("f16")}),
        ("gguf-mixtral-Q3_K_M", {"down": recipes.always("Q3_K"), "output": recipes.always("Q4_K")}),
        (
            "gguf-mixtral-Q2_K",
            {"down": recipes.always("ggml-Q2_K"), "output": recipes.always("Q3_K")},
        ),
    ],
)
def test_the_explanation_accounts_for_the_difference(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, name: str, changed: dict[str, Choice]
) -> None:
    """With the one rule changed that a file was made by, its size is met within 0.1 %."""
    row = FILES[name]
    common = recipes.RECIPES[row["file_type"]]
    recipe = msgspec.structs.replace(common, choices={**common.choices, **changed})
    monkeypatch.setitem(recipes.RECIPES, row["file_type"], recipe)
    assert row["file_gib"] == pytest.approx(gib(catalog, row), rel=0.001)
