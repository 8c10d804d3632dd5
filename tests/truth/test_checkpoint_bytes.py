"""Bytes of published checkpoints: to the byte where others summed the files' own headers."""

from collections.abc import Iterator

import pytest

from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Tensor
from rackfit.architecture.quantization import read_quantization, stored_bytes
from rackfit.catalog.load import Catalog, load_catalog

# Sums over safetensors headers. llm-d-planner, tests/integration/test_capacity_planner.py (GiB,
# to the last bit) and hf-mem, issue 60 and pull request 61 (bytes).
EXACT = {
    "Qwen/Qwen2.5-0.5B": round(0.9202077388763428 * 2**30),
    "deepseek-ai/DeepSeek-V2": round(439.10264015197754 * 2**30),
    "openai/gpt-oss-20b": round(12.816176533699036 * 2**30),
    "openai/gpt-oss-120b": 65_248_815_744,
    "google/gemma-4-31B-it": 62_546_177_752,
}
# Sizes of the repositories' main revisions in July 2026, in GB. They hold the files' headers
# and the tokenizer too (tens of megabytes), and some keep scales in a shorter type.
REPOSITORY_GB = {
    "Qwen/Qwen3-235B-A22B-Instruct-2507": 470.2,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8": 482.1,
    "Qwen/Qwen3.5-397B-A17B": 806.8,
    "deepseek-ai/DeepSeek-V4-Flash": 159.6,
    "deepseek-ai/DeepSeek-V4-Pro": 864.7,
    "zai-org/GLM-5.2": 1506.7,
    "zai-org/GLM-5.2-FP8": 755.6,
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


def stored(catalog: Catalog, model: str) -> Iterator[tuple[Tensor, str]]:
    """Yield every tensor of a checkpoint, layer by layer, with its scheme."""
    entry = catalog.models[model]
    assert entry.config is not None
    architecture = read_config(entry.config)
    quantization = read_quantization(entry.config, entry.hf_quant_config)
    for number, layer in enumerate(architecture.layers):
        for tensor in layer.tensors:
            yield tensor, quantization.scheme_of(tensor, number)
    for tensor in (*architecture.outer, *architecture.draft):
        yield tensor, quantization.scheme_of(tensor)


def checkpoint_bytes(catalog: Catalog, model: str) -> int:
    """Return the bytes of all tensors of a checkpoint."""
    schemes = catalog.schemes
    return sum(stored_bytes(tensor, schemes[found]) for tensor, found in stored(catalog, model))


@pytest.mark.parametrize("model", EXACT)
def test_checkpoints_are_exact_to_the_byte(catalog: Catalog, model: str) -> None:
    """The tensors' bytes are the sum over the checkpoint's own headers."""
    assert EXACT[model] == checkpoint_bytes(catalog, model)


@pytest.mark.parametrize("model", REPOSITORY_GB)
def test_checkpoints_have_the_size_of_their_repository(catalog: Catalog, model: str) -> None:
    """The tensors' bytes are the repository's size within 0.02 % and the figure's rounding."""
    size = checkpoint_bytes(catalog, model) / 1e9
    assert REPOSITORY_GB[model] == pytest.approx(size, abs=0.05 + 2e-4 * size)


def test_deepseek_v4_pro_stores_the_elements_its_page_counts(catalog: Catalog) -> None:
    """Packed FP4 bytes, and the scales of FP4 and FP8 together, are the published counts."""
    by_scheme: dict[str, list[Tensor]] = {}
    for tensor, scheme in stored(catalog, "deepseek-ai/DeepSeek-V4-Pro"):
        by_scheme.setdefault(scheme, []).append(tensor)
    experts = sum(tensor.elements for tensor in by_scheme["mxfp4"])
    assert experts // 2 == 786_381_668_352  # elements of type I8 on the repository's page
    tiles = sum(tensor.elements for tensor in by_scheme["fp8-block"]) // 128**2
    assert experts // 32 + tiles == 49_150_268_416  # elements of type F8_E8M0


def test_every_checkpoint_of_the_catalog_can_be_read(catalog: Catalog) -> None:
    """No published quantization section in the catalog is refused, and each scheme is known."""
    for model, entry in catalog.models.items():
        if entry.config is not None:
            found = read_quantization(entry.config, entry.hf_quant_config)
            named = {found.default, *(rule.scheme for rule in found.rules)}
            assert named <= set(catalog.schemes), model
