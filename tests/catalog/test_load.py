"""The catalog as a whole: names, digest and overlay."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rackfit.catalog import Catalog, load_catalog
from rackfit.catalog.entries import Accelerator, Card, ModelEntry, Scheme
from rackfit.errors import CatalogError, UnknownName

CARD = {
    "parameters": 7_000_000_000,
    "layers": 32,
    "hidden_size": 4096,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "context_tokens": 8192,
}
PRIVATE = {
    "id": "our/private-7b",
    "name": "Private 7B",
    "family": "private",
    "developer": "us",
    "licence": "proprietary",
    "card": CARD,
}
ACCELERATOR = """
[[accelerator]]
id = "Our-Own-Accelerator"
usable_bytes = 100_000_000_000
"""
SCHEME = """
[[scheme]]
id = "int3-ours"
name = "INT3 of ours"
kind = "scaled"
bits_per_weight = 3.5
"""


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    """Return the catalog without an overlay."""
    return load_catalog()


def put(directory: Path, file: str, content: str | Mapping[str, Any]) -> Path:
    """Write one file of an overlay and return the overlay."""
    path = directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
    path.write_text(text, encoding="utf-8")
    return directory


def entry(name: str, **fields: object) -> ModelEntry:
    """Return a small model entry."""
    return msgspec.convert({**PRIVATE, "id": name, **fields}, ModelEntry)


def catalog(*models: ModelEntry) -> Catalog:
    """Return a catalog of `models` and one scheme."""
    scheme = Scheme(id="bf16", name="bfloat16", kind="plain", bits_per_weight=16)
    return Catalog(models, [Accelerator(id="X", usable_bytes=1 << 30)], [scheme], "2026-01-01")


def test_shipped_catalog(shipped: Catalog) -> None:
    """The shipped catalog loads: models, accelerators and schemes, in order of id, dated."""
    for entries in (shipped.models, shipped.accelerators, shipped.schemes):
        assert sorted(entries) == list(entries) != []
    assert shipped.date == dt.date.fromisoformat(shipped.date).isoformat()


def test_catalog_cannot_be_changed(shipped: Catalog) -> None:
    """The mappings of a catalog are read-only."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        shipped.models["x"] = entry("x")  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepseek-v4-pro", "deepseek-v4-pro"),
        ("DeepSeek-V4-Pro", "deepseek-v4-pro"),
        ("deepseek-ai/DeepSeek-V4-Pro", "deepseek-ai/DeepSeek-V4-Pro"),
        ("DEEPSEEK-AI/deepseek-v4-pro", "deepseek-ai/DeepSeek-V4-Pro"),
        ("deepseek-v3", "deepseek-ai/DeepSeek-V3"),
        ("Qwen3-32B", "Qwen/Qwen3-32B"),
        ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B"),
        ("gpt-oss-120b", "openai/gpt-oss-120b"),
    ],
)
def test_model_names(shipped: Catalog, name: str, expected: str) -> None:
    """A model answers to its id and its aliases in any case; V4-Pro alone means the card."""
    assert expected == shipped.model(name).id


def test_every_name_resolves(shipped: Catalog) -> None:
    """Each id and each alias of the catalog leads to its own entry."""
    wrong = [
        name
        for model in shipped.models.values()
        for name in (model.id, *model.aliases)
        if shipped.model(name) is not model
    ]

    assert [] == wrong


def test_no_model_is_served_in_an_index_type(shipped: Catalog) -> None:
    """Integer types store tables beside weights; asked for as a quantization they are unknown."""
    assert "i64" in shipped.schemes
    with pytest.raises(UnknownName):
        shipped.scheme("i64")


def test_scheme_names(shipped: Catalog) -> None:
    """A quantization scheme answers to its id and its aliases in any case."""
    wrong = [
        name
        for scheme in shipped.quantizations
        for name in (scheme.id, scheme.id.swapcase(), *scheme.aliases)
        if shipped.scheme(name) is not scheme
    ]

    assert [] == wrong


def test_accelerator_names(shipped: Catalog) -> None:
    """An accelerator answers to what its node is labelled, in any case, without a warning."""
    accelerator, warnings = shipped.accelerator("nvidia-h200")

    assert ("NVIDIA-H200", ()) == (accelerator.id, warnings)


def test_unknown_model(shipped: Catalog) -> None:
    """An unknown model is refused at the caller's field, with the closest names."""
    with pytest.raises(UnknownName) as refused:
        shipped.model("deepseek-v33", "/deployments/2/model/id")
    (violation,) = refused.value.violations

    assert violation.pointer == "/deployments/2/model/id"
    assert "no model named 'deepseek-v33'" in violation.detail
    assert "'deepseek-v3'" in violation.detail


def test_unknown_scheme(shipped: Catalog) -> None:
    """An unknown quantization scheme is refused at the caller's field, with the closest names."""
    with pytest.raises(UnknownName) as refused:
        shipped.scheme("Q4_K_N", "/quantization")
    (violation,) = refused.value.violations

    assert violation.pointer == "/quantization"
    assert "Q4_K_M" in violation.detail


def test_unknown_accelerator(shipped: Catalog) -> None:
    """An unknown accelerator is refused at the caller's field, with the closest names."""
    with pytest.raises(UnknownName) as refused:
        shipped.accelerator("NVIDIA-H2000", "/inventory/nodes/0/accelerator")
    (violation,) = refused.value.violations

    assert violation.pointer == "/inventory/nodes/0/accelerator"
    assert "NVIDIA-H200" in violation.detail


def test_id_wins_over_alias() -> None:
    """A name that is one entry's id and another's alias means the entry of that id."""
    known = catalog(entry("org/seven", aliases=["seven"]), entry("Seven"))

    assert known.model("seven").id == "Seven"


def test_shared_alias_is_refused() -> None:
    """Two entries with one alias are refused, both named."""
    with pytest.raises(CatalogError, match=r"model b: aliases: 'ONE' is an alias of a too"):
        catalog(entry("a", aliases=["one"]), entry("b", aliases=["ONE"]))


def test_unknown_related_is_refused() -> None:
    """An entry related to a model that is not there is refused."""
    with pytest.raises(CatalogError, match="model a: related: there is no model 'b'"):
        catalog(entry("a", related=["b"]))


def test_digest_ignores_order() -> None:
    """The digest is the same whatever order the entries, and the keys of a config, came in."""
    config, reverse = {"model_type": "x", "vocab_size": 2}, {"vocab_size": 2, "model_type": "x"}
    one = catalog(entry("a"), entry("b", card=None, config=config))
    other = catalog(entry("b", card=None, config=reverse), entry("a"))

    assert one.digest == other.digest


def test_digest_follows_content() -> None:
    """The digest, 16 bytes in hexadecimal, changes with any figure of any entry."""
    changed = entry("a", card={**CARD, "layers": 33})

    assert catalog(entry("a")).digest != catalog(changed).digest
    assert len(bytes.fromhex(catalog(changed).digest)) == 16


def test_overlay_adds(shipped: Catalog, tmp_path: Path) -> None:
    """An overlay's entries of all three sorts stand beside the shipped ones."""
    put(tmp_path, "models/private.json", PRIVATE)
    put(tmp_path, "accelerators/ours.toml", ACCELERATOR)
    put(tmp_path, "schemes.toml", SCHEME)
    overlaid = load_catalog(tmp_path)

    assert overlaid.model("OUR/private-7b").card == msgspec.convert(CARD, Card)
    assert overlaid.accelerator("our-own-accelerator")[0].usable_bytes == 100_000_000_000
    assert overlaid.scheme("INT3-ours").bits_per_weight == 3.5
    assert len(shipped.models) + 1 == len(overlaid.models)
    assert overlaid.model("deepseek-v4-pro") == shipped.model("deepseek-v4-pro")


def test_overlay_replaces(shipped: Catalog, tmp_path: Path) -> None:
    """An overlay's entry replaces the shipped one of the same id, aliases and all."""
    put(tmp_path, "models/mine.json", {**PRIVATE, "id": "qwen/qwen3-0.6b"})
    overlaid = load_catalog(tmp_path)

    assert overlaid.model("Qwen/Qwen3-0.6B").family == "private"
    assert len(shipped.models) == len(overlaid.models)
    with pytest.raises(UnknownName):
        overlaid.model("qwen3-0.6b")


def test_overlay_changes_the_digest(shipped: Catalog, tmp_path: Path) -> None:
    """Another catalog has another digest, and a file's name is no part of it."""
    one = load_catalog(put(tmp_path / "one", "models/a.json", PRIVATE))
    two = load_catalog(put(tmp_path / "two", "models/b.json", PRIVATE))

    assert shipped.digest != one.digest == two.digest


def test_empty_overlay_changes_nothing(shipped: Catalog, tmp_path: Path) -> None:
    """An overlay without a catalog file, hidden ones aside, leaves the catalog as shipped."""
    put(tmp_path, "models/.private.json", "not JSON")

    assert shipped.digest == load_catalog(tmp_path).digest


@pytest.mark.parametrize(
    "file",
    [
        "acme.toml",
        "model.json",
        "accelerators/acme.TOML",
        "accelerators/acme.json",
        "Accelerators/acme.toml",
        "models/acme.yaml",
        "models/acme/assistant.json",
        "schemes.TOML",
    ],
)
def test_a_file_outside_the_layout_is_refused(tmp_path: Path, file: str) -> None:
    """What nothing reads would be missing without a word: the file and the layout are named."""
    put(tmp_path, file, ACCELERATOR)
    layout = r"models/\*\.json, accelerators/\*\.toml or schemes\.toml"

    with pytest.raises(CatalogError, match=f"{file}: nothing reads this file; .* {layout}"):
        load_catalog(tmp_path)


def test_what_is_no_data_file_may_stand_beside_them(shipped: Catalog, tmp_path: Path) -> None:
    """A README, a copy of the catalog's date, a ConfigMap's own directories."""
    for file in ("README.md", "LICENSE", "catalog.toml", "..data/acme.toml", ".git/config.toml"):
        put(tmp_path, file, "")

    assert shipped.digest == load_catalog(tmp_path).digest


@pytest.mark.parametrize(
    ("file", "content", "field"),
    [
        ("models/bad.json", "{", "truncated"),
        ("models/bad.json", {**PRIVATE, "card": {**CARD, "layers": "32"}}, r"\$\.card\.layers"),
        ("models/bad.json", {**PRIVATE, "card": {**CARD, "layer": 32}}, "`layer`"),
        ("models/bad.json", {**PRIVATE, "alias": ["x"]}, "`alias`"),
        ("models/bad.json", {**PRIVATE, "config": {}}, "config, card: give exactly one"),
        ("models/bad.json", {**PRIVATE, "card": None}, "config, card: give exactly one"),
        ("models/bad.json", {**PRIVATE, "released": "May"}, "released: 'May'"),
        ("accelerators/bad.toml", "[[accelerator]", "Expected"),
        ("accelerators/bad.toml", ACCELERATOR.replace("100_0", "-1"), r"usable_bytes"),
        ("accelerators/bad.toml", ACCELERATOR + "colour = 'green'", "`colour`"),
        ("accelerators/bad.toml", ACCELERATOR * 2, "id: 'Our-Own-Accelerator' stands in bad.toml"),
        ("schemes.toml", SCHEME.replace("3.5", "'few'"), "bits_per_weight"),
        ("schemes.toml", SCHEME + "bits = 3", "`bits`"),
    ],
)
def test_bad_overlay_is_refused(
    tmp_path: Path, file: str, content: str | dict[str, Any], field: str
) -> None:
    """A wrong file of an overlay is refused, with its path and the field that is wrong."""
    with pytest.raises(CatalogError, match=f"{file}: .*{field}"):
        load_catalog(put(tmp_path, file, content))


def test_overlay_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused by name."""
    put(tmp_path, "models/bad.json", "")
    (tmp_path / "models/bad.json").write_bytes(b'{"id": "\xff"}')

    with pytest.raises(CatalogError, match=r"models/bad\.json: .*utf-8"):
        load_catalog(tmp_path)


def test_same_id_twice_in_an_overlay_is_refused(tmp_path: Path) -> None:
    """Two files of one overlay cannot describe the same model."""
    put(tmp_path, "models/a.json", PRIVATE)
    put(tmp_path, "models/b.json", {**PRIVATE, "id": "Our/Private-7B"})

    with pytest.raises(CatalogError, match=r"b\.json: id: 'Our/Private-7B' stands in a\.json"):
        load_catalog(tmp_path)


def test_missing_overlay_is_refused(tmp_path: Path) -> None:
    """A catalog directory that is not there is refused by name."""
    with pytest.raises(CatalogError, match="nowhere: the catalog overlay is not a directory"):
        load_catalog(tmp_path / "nowhere")
