"""The catalog of quantization schemes agrees with itself and with the formats' own constants."""

import tomllib
from importlib import resources

import msgspec
import pytest

from rackfit.architecture.model import Tensor
from rackfit.architecture.quantization import stored_bytes
from rackfit.catalog.entries import Scheme

DATA = resources.files("rackfit.catalog") / "data" / "schemes.toml"
SCHEMES = {
    scheme.id: scheme
    for scheme in msgspec.convert(
        tomllib.loads(DATA.read_text())["scheme"], list[Scheme], strict=True
    )
}
ENGINES = {"vllm", "sglang", "tensorrt-llm", "llama.cpp"}
LARGE = Tensor(name="large.weight", shape=(8192, 8192), component="attention", linear=True)

# gguf 0.19.0, constants.py, GGML_QUANT_SIZES: elements and bytes of a block.
GGUF_BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "F64": (1, 8),
    "I8": (1, 1),
    "I16": (1, 2),
    "I32": (1, 4),
    "I64": (1, 8),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q8_1": (32, 40),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "Q8_K": (256, 292),
    "IQ1_S": (256, 50),
    "IQ1_M": (256, 56),
    "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74),
    "IQ2_S": (256, 82),
    "IQ3_XXS": (256, 98),
    "IQ3_S": (256, 110),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
    "TQ1_0": (256, 54),
    "TQ2_0": (256, 66),
    "Q1_0": (128, 18),
    "MXFP4": (32, 17),
    "NVFP4": (64, 36),
}
# llama.cpp, tools/quantize/README.md: GiB of Llama-3.1-8B by file type.
LLAMA_8B_PARAMETERS = 8_030_261_248
LLAMA_8B_GIB = {
    "IQ1_S": 1.87,
    "IQ1_M": 2.01,
    "IQ2_XXS": 2.23,
    "IQ2_XS": 2.42,
    "IQ2_S": 2.56,
    "IQ2_M": 2.74,
    "IQ3_XXS": 3.04,
    "IQ3_XS": 3.27,
    "IQ3_S": 3.42,
    "IQ3_M": 3.52,
    "IQ4_XS-static": 4.17,
    "IQ4_NL-static": 4.38,
    "Q2_K_S": 2.78,
    "Q2_K": 2.95,
    "Q3_K_S": 3.41,
    "Q3_K_M": 3.74,  # tools/quantize/quantize.cpp
    "Q3_K_L": 4.02,
    "Q4_K_S": 4.36,
    "Q4_K_M": 4.58,
    "Q5_K_S": 5.21,
    "Q5_K_M": 5.33,
    "Q6_K": 6.14,
    "Q8_0": 7.95,
    "f16": 14.96,
}


def names() -> dict[str, list[str]]:
    """Every id and alias, case aside, with the schemes it belongs to."""
    found: dict[str, list[str]] = {}
    for scheme in SCHEMES.values():
        for name in (scheme.id, *scheme.aliases):
            found.setdefault(name.casefold(), []).append(scheme.id)
    return found


def test_every_name_means_one_scheme() -> None:
    """No id or alias belongs to two schemes, case aside."""
    assert {} == {name: owners for name, owners in names().items() if len(owners) > 1}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_every_scheme_says_where_its_figures_come_from(scheme: Scheme) -> None:
    """A scheme has at least one source and engines by their known names only."""
    assert scheme.sources
    assert set(scheme.engines) <= ENGINES


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_bits_per_weight_follow_from_the_layout(scheme: Scheme) -> None:
    """The published average of a large matrix is what blocks, scales and the rest add up to."""
    bits = stored_bytes(LARGE, scheme) * 8 / LARGE.elements
    assert scheme.bits_per_weight == pytest.approx(bits, abs=1e-4)


@pytest.mark.parametrize("name", GGUF_BLOCKS)
def test_block_types_have_the_sizes_of_the_gguf_package(name: str) -> None:
    """`ggml-<type>` resolves, case aside, to a scheme of that type's block and type size."""
    (owner,) = names()[f"ggml-{name}".casefold()]
    scheme = SCHEMES[owner]
    assert GGUF_BLOCKS[name] == (scheme.block_elements, scheme.block_bytes)
    assert scheme.covers == "all"


@pytest.mark.parametrize("name", LLAMA_8B_GIB)
def test_file_types_give_the_published_file_sizes(name: str) -> None:
    """Parameters times bits per weight is llama.cpp's file of Llama-3.1-8B within 1 %."""
    size = LLAMA_8B_PARAMETERS * SCHEMES[name].bits_per_weight / 8
    assert LLAMA_8B_GIB[name] == pytest.approx(size / 2**30, rel=0.01)


def test_the_cards_nominal_figures_are_on_the_cards_schemes_alone() -> None:
    """Q4_K_M, Q8_0 and 16 bits carry 0.5, 1 and 2 bytes a weight; no other scheme has any."""
    nominal = {s.id: s.card_bytes_per_weight for s in SCHEMES.values() if s.card_bytes_per_weight}
    assert {"Q4_K_M": 0.5, "Q8_0": 1.0, "f16": 2.0, "bf16": 2.0} == nominal


@pytest.mark.parametrize(
    ("typed", "scheme"),
    [
        ("F16", "f16"),
        ("half", "f16"),
        ("bfloat16", "bf16"),
        ("FP8_E4M3", "fp8"),
        ("w8a8", "int8"),
        ("fp4", "nvfp4"),
        ("MXFP4", "mxfp4"),
        ("int4", "int4-g128"),
        ("AWQ", "awq-int4"),
        ("gptq", "gptq-int4"),
        ("nf4", "bnb-nf4"),
        ("q4_k_m", "Q4_K_M"),
        ("ggml-q2_k", "ggml-Q2_K"),
    ],
)
def test_what_people_type_resolves(typed: str, scheme: str) -> None:
    """The usual spellings name the scheme people mean by them."""
    assert [scheme] == names()[typed.casefold()]


def test_a_bare_name_is_the_file_where_llama_cpp_mixes_under_it() -> None:
    """Q2_K is a mixture of 3.16 bits, its own blocks of 2.63 bits are ggml-Q2_K."""
    assert ("gguf-mixture", "gguf") == (SCHEMES["Q2_K"].kind, SCHEMES["ggml-Q2_K"].kind)
    assert SCHEMES["Q2_K"].bits_per_weight > SCHEMES["ggml-Q2_K"].bits_per_weight
