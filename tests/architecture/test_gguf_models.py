"""A header as llama.cpp writes it gives the model that its config gives, to the byte."""

from functools import cache
from pathlib import Path

import gguf
import msgspec
import pytest

from ggufs import NUMBERS, converted, metadata, written
from rackfit.architecture.gguf.metadata import FAMILIES
from rackfit.catalog.load import Catalog, load_catalog
from rackfit.engines.choice import EngineChoice
from rackfit.errors import InvalidInput
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectAnswer, InspectRequest, ModelRef

ARCH = gguf.MODEL_ARCH
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
MODELS = {
    LLAMA: ARCH.LLAMA,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": ARCH.LLAMA,
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": ARCH.LLAMA4,
    "Qwen/Qwen2.5-0.5B": ARCH.QWEN2,
    "Qwen/Qwen3-32B": ARCH.QWEN3,
    "Qwen/Qwen3-30B-A3B": ARCH.QWEN3MOE,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": ARCH.QWEN3NEXT,
    "Qwen/Qwen3.5-35B-A3B": ARCH.QWEN35MOE,
    "google/gemma-2-27b-it": ARCH.GEMMA2,
    "google/gemma-3-12b-it": ARCH.GEMMA3,
    "microsoft/phi-4": ARCH.PHI3,
    "deepseek-ai/DeepSeek-R1": ARCH.DEEPSEEK2,
    "deepseek-ai/DeepSeek-V2-Lite": ARCH.DEEPSEEK2,
    "zai-org/GLM-4.5-Air": ARCH.GLM4_MOE,
    "openai/gpt-oss-20b": ARCH.GPT_OSS,
    "MiniMaxAI/MiniMax-M2": ARCH.MINIMAXM2,
    "allenai/OLMo-2-1124-7B-Instruct": ARCH.OLMO2,
}
ROOT = Path(__file__).parents[2]
NOT_IN_THE_FILE = ("total", "vision", "draft")


@cache
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


@cache
def header(model: str, file_type: str = "Q4_K_M") -> bytes:
    """Return the header of a catalog model's file."""
    config = catalog().models[model].config
    assert config is not None
    return converted(config, MODELS[model], file_type)


def inspect(model: ModelRef, quantization: str | None = None) -> InspectAnswer:
    """Inspect a model as llama.cpp serves it."""
    engine = EngineChoice(name="llama.cpp")
    asked = InspectRequest(
        model=model, quantization=quantization, engine=engine, kv_cache_dtype="f16"
    )
    return inspect_model(asked, catalog())


def refusal(gguf_header: bytes | list[bytes]) -> str:
    """Return what is said of a header that cannot be read."""
    with pytest.raises(InvalidInput) as refused:
        inspect(ModelRef(gguf=gguf_header))
    assert refused.value.violations[0].pointer.startswith("/model/gguf")
    return refused.value.violations[0].detail


@pytest.mark.parametrize("file_type", ["Q4_K_M", "IQ2_XS"])
@pytest.mark.parametrize("model", MODELS)
def test_a_header_is_the_model_it_was_converted_from(model: str, file_type: str) -> None:
    """Bytes, cache and every part that a file holds equal those counted from the config."""
    found = inspect(ModelRef(gguf=header(model, file_type)))
    expected = inspect(ModelRef(id=model), file_type)
    assert expected.checkpoint_bytes == found.checkpoint_bytes
    assert expected.kv_cache == found.kv_cache
    parts = msgspec.structs.asdict(expected.parameters)
    held = {part for part in parts if part not in NOT_IN_THE_FILE}
    assert {p: parts[p] for p in held} == {
        p: size for p, size in msgspec.structs.asdict(found.parameters).items() if p in held
    }


def test_the_documents_show_a_real_header() -> None:
    """docs/examples/model.gguf is the beginning of Qwen2.5-0.5B in Q4_K_M, tokenizer aside."""
    assert header("Qwen/Qwen2.5-0.5B") == (ROOT / "docs/examples/model.gguf").read_bytes()


def test_a_header_keeps_its_own_names_and_types() -> None:
    """Lines are named as the file names tensors, in the schemes it stores them in."""
    answer = inspect(ModelRef(gguf=header(LLAMA)))
    assert ("A Model", "llama", None) == (answer.name, answer.architecture, answer.id)
    values = {line.scheme: line.count for line in answer.tensors if "attn_v." in line.name}
    assert {"Q4_K": 16, "Q6_K": 16} == values
    assert "blk.*.attn_v.weight" in {line.name for line in answer.tensors}


def test_a_header_can_be_asked_for_in_another_type() -> None:
    """A Q4_K_M file's model in Q8_0 has the size its config has in Q8_0."""
    found = inspect(ModelRef(gguf=header(LLAMA)), "Q8_0")
    assert inspect(ModelRef(id=LLAMA), "Q8_0").checkpoint_bytes == found.checkpoint_bytes


def test_the_parts_of_a_split_file_are_one_model() -> None:
    """The first part holds the metadata, and all of them the tensors; one missing is refused."""
    config = catalog().models[LLAMA].config or {}
    known = {**metadata("llama", config, 0), "split.tensors.count": 66}
    shape, kind = (8, 256), NUMBERS["Q4_K"]
    blocks = [(f"blk.{i}.attn_{role}.weight", shape, kind) for i in range(32) for role in "qk"]
    outer = [(f"{name}.weight", shape, kind) for name in ("token_embd", "output")]
    parts = [written("llama", known, []), written("llama", {}, outer), written("llama", {}, blocks)]
    answer = inspect(ModelRef(gguf=parts))
    assert 66 * 8 * 144 == answer.checkpoint_bytes
    assert "has 66 tensors; 2 of its parts name 2" in refusal(parts[:2])


def test_heads_of_latent_attention_are_stacked() -> None:
    """The matrices from the latent row have three dimensions, and are no stack of experts."""
    config = catalog().models["deepseek-ai/DeepSeek-V2-Lite"].config or {}
    known = metadata("deepseek2", {**config, "num_hidden_layers": 1}, 0)
    stacked = [
        ("blk.0.attn_k_b.weight", (16, 512, 128), NUMBERS["Q8_0"]),
        ("blk.0.attn_v_b.weight", (16, 128, 512), NUMBERS["Q8_0"]),
    ]
    answer = inspect(ModelRef(gguf=written("deepseek2", known, stacked)))
    assert [(16 * 512, 128), (16 * 128, 512)] == [line.shape for line in answer.tensors]
    assert 2 * 16 * 512 * 128 == answer.parameters.attention


def test_experts_kept_apart_are_counted_together() -> None:
    """Files from before March 2024 name each expert's matrix."""
    config = catalog().models["mistralai/Mixtral-8x7B-Instruct-v0.1"].config or {}
    known = metadata("llama", {**config, "num_hidden_layers": 1}, 0)
    apart = [(f"blk.0.ffn_up.{i}.weight", (16, 256), NUMBERS["Q3_K"]) for i in range(8)]
    (line,) = inspect(ModelRef(gguf=written("llama", known, apart))).tensors
    assert ("routed_experts", 8, 8 * 16 * 110) == (line.component, line.count, line.bytes)


def test_an_unknown_architecture_is_refused_with_those_known() -> None:
    """Mamba is not read; what is, is listed."""
    said = refusal(written("mamba", {"mamba.block_count": 1}, []))
    assert said.startswith("No reader for 'mamba'. Known architectures: apertus, ")
    assert set(FAMILIES) <= set(said.rstrip(".").replace(":", ",").split(", "))


def test_missing_metadata_are_named_by_field_and_key() -> None:
    """A header without a head count says which key would hold it."""
    config = catalog().models[LLAMA].config or {}
    known = metadata("llama", config, 0)
    del known["llama.attention.head_count"]
    said = refusal(written("llama", known, [("token_embd.weight", (8, 8), 0)]))
    assert "num_attention_heads is missing. (Its key is attention.head_count.)" == said


def test_a_layer_without_tensors_is_refused() -> None:
    """A header cut by hand between layers is no model."""
    known = metadata("llama", catalog().models[LLAMA].config or {}, 0)
    said = refusal(written("llama", known, [("blk.0.attn_q.weight", (8, 8), 0)]))
    assert "The header names no tensor of layer 1, of 32 layers." == said


def test_rows_hold_whole_blocks() -> None:
    """A row of 100 elements cannot be in blocks of 32."""
    known = metadata("llama", catalog().models[LLAMA].config or {}, 0)
    said = refusal(written("llama", known, [("output.weight", (8, 96), NUMBERS["Q8_0"])]))
    assert "no tensor of layer 0" in said
    wrong = written("llama", known, [("output.weight", (8, 96), NUMBERS["Q8_0"])]).replace(
        (96).to_bytes(8, "little"), (100).to_bytes(8, "little")
    )
    assert "rows of 100 elements, no whole number of Q8_0's blocks of 32" in refusal(wrong)
