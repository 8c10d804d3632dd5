"""The models of the shipped catalog, as data."""

import re
from collections import Counter
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from rackfit.architecture.huggingface import read_config
from rackfit.architecture.parameters import count_parameters
from rackfit.catalog.entries import Card, ModelEntry

DIRECTORY = Path(str(resources.files("rackfit.catalog"))) / "data" / "models"
FILES = sorted(DIRECTORY.glob("*.json"))
ENTRIES = {f: msgspec.json.decode(f.read_bytes(), type=ModelEntry) for f in FILES}
MODELS = {entry.id: entry for entry in ENTRIES.values()}
CONFIGS = [entry for entry in MODELS.values() if entry.config is not None]

CARD = "deepseek-v4-pro"
CHECKPOINT = "deepseek-ai/DeepSeek-V4-Pro"
DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
PUBLISHED = re.compile(r"published ([\d,]+) parameters")
STATED = [entry for entry in CONFIGS if PUBLISHED.search(" ".join(entry.sources))]

# Written in parts: the project names no package registry, not even here.
REGISTRIES = [
    ".".join(host) for host in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))
]


def test_public_card() -> None:
    """The public card of DeepSeek V4-Pro is kept field by field."""
    expected = Card(
        parameters=1_600_000_000_000,
        active_parameters=49_000_000_000,
        context_tokens=1_048_576,
        layers=80,
        hidden_size=8192,
        heads=64,
        kv_heads=8,
        head_dim=128,
        experts=256,
        experts_per_token=8,
        attention="DSA (Dynamic Sparse Attention) + Token Compression",
        rope="YaRN-extended RoPE",
        activation="SwiGLU",
        norm="RMSNorm",
        uses=["Frontier Research", "Enterprise", "Agentic", "Code"],
    )

    assert expected == MODELS[CARD].card


def test_public_card_is_mit_of_april_2026() -> None:
    """The public card gives the licence and the release date."""
    card = MODELS[CARD]

    assert ("MIT", "2026-04-01") == (card.licence, card.released)


def test_card_and_checkpoint_name_each_other() -> None:
    """Each of the two things called V4-Pro points to the other and says that it differs."""
    card, checkpoint = MODELS[CARD], MODELS[CHECKPOINT]

    assert [CHECKPOINT] == card.related
    assert CARD in checkpoint.related
    assert any(CHECKPOINT in warning for warning in card.warnings)
    assert any(CARD in warning for warning in checkpoint.warnings)


def test_checkpoint_geometry() -> None:
    """The published V4-Pro checkpoint has 61 layers and 384 experts, 6 of them a token."""
    config = MODELS[CHECKPOINT].config or {}
    fields = ("num_hidden_layers", "n_routed_experts", "num_experts_per_tok", "n_shared_experts")

    assert [61, 384, 6, 1] == [config[field] for field in fields]


def test_breadth() -> None:
    """At least sixty open models stand beside the V4-Pro card and checkpoint."""
    assert len(MODELS) >= 62


@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("deepseek", "deepseek-ai/DeepSeek-V3.2"),
        ("deepseek", "deepseek-ai/DeepSeek-R1"),
        ("deepseek", CARD),
        ("qwen", "Qwen/Qwen3-235B-A22B"),
        ("llama", "meta-llama/Llama-3.3-70B-Instruct"),
        ("mistral", "mistralai/Mixtral-8x7B-v0.1"),
        ("gemma", "google/gemma-3-27b-it"),
        ("gpt-oss", "openai/gpt-oss-120b"),
        ("glm", "zai-org/GLM-5"),
        ("kimi", "moonshotai/Kimi-K2-Instruct"),
        ("minimax", "MiniMaxAI/MiniMax-M2.5"),
        ("nemotron", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"),
        ("granite", "ibm-granite/granite-3.1-8b-instruct"),
    ],
)
def test_families(family: str, model: str) -> None:
    """The models people serve are grouped by the name of their family."""
    assert family == MODELS[model].family


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_is_named_by_its_id(file: Path) -> None:
    """A file's name is its entry's id with two hyphens for the slash."""
    assert file.stem == ENTRIES[file].id.replace("/", "--")


def test_names_are_unique() -> None:
    """No two names of the catalog, ids and aliases alike, differ in case alone."""
    names = Counter(
        name.casefold() for entry in MODELS.values() for name in (entry.id, *entry.aliases)
    )

    assert [] == [name for name, count in names.items() if count > 1]


def test_related_entries_name_each_other() -> None:
    """An entry of the same model in another form exists, and names this one back."""
    pairs = {(entry.id, other) for entry in MODELS.values() for other in entry.related}

    assert set() == {pair for pair in pairs if pair[::-1] not in pairs}


@pytest.mark.parametrize("entry", MODELS.values(), ids=lambda entry: entry.id)
def test_provenance(entry: ModelEntry) -> None:
    """Every entry says where it comes from, whose it is and under which licence."""
    assert all([entry.sources, entry.developer, entry.licence, entry.name])
    assert entry.released is None or DATE.fullmatch(entry.released)
    assert re.fullmatch(r"[a-z0-9-]+", entry.family)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_registry_is_named(file: Path) -> None:
    """No entry names the host of a package registry."""
    text = file.read_text(encoding="utf-8")

    assert [] == [host for host in REGISTRIES if host in text]


@pytest.mark.parametrize("entry", CONFIGS, ids=lambda entry: entry.id)
def test_config_is_readable(entry: ModelEntry) -> None:
    """Every config is of a family the reader knows, and makes layers."""
    assert read_config(entry.config or {}).layers


@pytest.mark.parametrize("entry", STATED, ids=lambda entry: entry.id)
def test_published_parameter_count(entry: ModelEntry) -> None:
    """Where an entry's sources quote a parameter count, its config adds up to it exactly."""
    quoted = PUBLISHED.search(" ".join(entry.sources))
    architecture = read_config(entry.config or {})

    assert quoted is not None
    assert int(quoted[1].replace(",", "")) == count_parameters(architecture).total


GROUPED = [
    entry
    for entry in CONFIGS
    if (entry.config or {}).get("quantization_config", {}).get("quant_method") in {"awq", "gptq"}
]


@pytest.mark.parametrize("entry", GROUPED, ids=lambda entry: entry.id)
def test_published_groups_are_whole_on_four_ranks(entry: ModelEntry) -> None:
    """Who publishes AWQ and GPTQ pads widths so that four tensor ranks have whole groups."""
    config = entry.config or {}
    group = config["quantization_config"]["group_size"]
    assert 0 == config["intermediate_size"] % (4 * group)
