"""Sizes of GGUF files by file type, as llama.cpp and its users measured them."""

import msgspec
import pytest

import truths
from rackfit.architecture.gguf import recipes
from rackfit.architecture.gguf.recipes import Choice
from rackfit.catalog.load import load_catalog

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_FILES = {row["scheme"]: row for row in truths.table("gguf_llama_3.1_8b.csv")}
FILES = {row["id"]: row for row in truths.cases("gguf_files.json")}
MADE_BY_RULE = [name for name, row in FILES.items() if "explained" not in row]


def gib(name: str) -> float:
    """Return the size of a measured file as it is counted."""
    return truths.gguf_gib(FILES[name]["model"], FILES[name]["file_type"])


@pytest.mark.parametrize("file_type", LLAMA_FILES)
def test_llama_8b_has_the_published_size_to_the_last_digit(file_type: str) -> None:
    """Bits per weight and GiB of each file type, as llama.cpp's own table prints them."""
    made = truths.STATIC.get(file_type, file_type)
    row, answer = LLAMA_FILES[file_type], truths.gguf_file(LLAMA, made)
    bits = answer.checkpoint_bytes * 8 / answer.parameters.total
    assert row["bits_per_weight"] == f"{bits:.4f}"
    assert row["file_gib"] == f"{answer.checkpoint_bytes / truths.GIB:.2f}"


@pytest.mark.parametrize(
    ("file_type", "size"),
    [
        ("IQ4_XS", 4_447_667_616),
        ("IQ4_NL", 4_677_993_888),
        ("Q2_K", 3_179_136_416),
        ("Q3_K_M", 4_018_922_912),
        ("IQ3_M", 3_784_828_320),
        ("IQ3_XS", 3_518_752_160),
        ("IQ2_M", 2_948_285_856),
    ],
)
def test_files_made_with_an_importance_matrix_are_met_to_the_byte(
    file_type: str, size: int
) -> None:
    """bartowski/Meta-Llama-3.1-8B-Instruct-GGUF: all files have the same metadata before data."""
    assert size - 7_841_184 == truths.gguf_file(LLAMA, file_type).checkpoint_bytes


@pytest.mark.parametrize("name", MADE_BY_RULE)
def test_files_have_the_size_that_was_measured(name: str) -> None:
    """Dense, grouped, latent and hybrid attention, mixtures, drafts and towers: within 1 %."""
    assert FILES[name]["file_gib"] == pytest.approx(gib(name), rel=0.01)


def test_bits_per_weight_are_printed_alike() -> None:
    """Where a log says bits per weight too, ours round to the same two decimals, give or take."""
    for name in MADE_BY_RULE:
        if "bits_per_weight" in (row := FILES[name]):
            answer = truths.gguf_file(row["model"], row["file_type"])
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
def test_files_made_by_other_rules_differ_and_say_why(name: str, ours: float) -> None:
    """The rules of the file's name give another size, which is what such files have today."""
    assert FILES[name]["explained"]
    assert ours == pytest.approx(gib(name), abs=0.005)


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
    monkeypatch: pytest.MonkeyPatch, name: str, changed: dict[str, Choice]
) -> None:
    """With the one rule changed that a file was made by, its size is met within 0.1 %."""
    row = FILES[name]
    common = recipes.RECIPES[row["file_type"]]
    recipe = msgspec.structs.replace(common, choices={**common.choices, **changed})
    monkeypatch.setitem(recipes.RECIPES, row["file_type"], recipe)
    monkeypatch.setattr(truths, "catalog", load_catalog)  # nothing of it has been read before
    assert row["file_gib"] == pytest.approx(gib(name), rel=0.001)
