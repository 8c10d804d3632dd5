"""What llama-quantize stores where, by rules that no published size pins down alone."""

from collections.abc import Mapping
from functools import cache

import pytest

from checkpoints import BIAS, CORRECTION, EMBEDDING, EXPERT, HEAD, NORM, Q_PROJ, ROUTER, VISION
from rackfit.architecture.gguf.conversion import as_gguf
from rackfit.architecture.gguf.storage import GgufStorage
from rackfit.architecture.gguf.types import fitting
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Architecture, Tensor
from rackfit.architecture.quantization import read_quantization
from rackfit.catalog.load import Catalog, load_catalog
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectAnswer, InspectRequest, ModelRef

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
LARGE = "meta-llama/Llama-3.1-70B-Instruct"
MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"


@cache
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


def config_of(model: str) -> Mapping[str, object]:
    """Return a published config."""
    config = catalog().models[model].config
    assert config is not None
    return config


def stored(model: str, file_type: str) -> tuple[Architecture, GgufStorage]:
    """Return a catalog model as converted, and what a file of a type stores of it."""
    config = config_of(model)
    return as_gguf(read_config(config), file_type, read_quantization(config))


def by_layer(model: str, file_type: str, leaf: str) -> list[str]:
    """Return the scheme of one matrix in each layer."""
    architecture, storage = stored(model, file_type)
    return [
        storage.scheme_of(tensor, number)
        for number, layer in enumerate(architecture.layers)
        for tensor in layer.tensors
        if tensor.name.endswith(f"{leaf}.weight")
    ]


def inspect(model: str, quantization: str) -> InspectAnswer:
    """Inspect a catalog model in another scheme."""
    asked = InspectRequest(model=ModelRef(id=model), quantization=quantization)
    return inspect_model(asked, catalog())


def test_vectors_and_routers_stay_whole_and_the_tower_is_apart() -> None:
    """F32 for whatever is no matrix or chooses experts, 16 bits for vision."""
    _, storage = stored(LLAMA, "Q4_K_M")
    convolution = Tensor(name="conv1d.weight", shape=(64, 1, 4), component="attention")
    row = Tensor(name="mlp.shared_expert_gate.weight", shape=(1, 64), component="shared_experts")
    vectors = (NORM, BIAS, ROUTER, CORRECTION, convolution, row)
    assert ["f32"] * len(vectors) == [storage.scheme_of(t) for t in vectors]
    assert "bf16" == storage.scheme_of(VISION)
    assert ["Q4_K", "Q4_K", "Q6_K"] == [storage.scheme_of(t) for t in (Q_PROJ, EMBEDDING, HEAD)]


def test_the_ends_and_every_third_layer_between_get_more_bits() -> None:
    """Q4_K_M: of 32 layers the first and last four, and every third of the others."""
    more = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    for leaf in ("v_proj", "down_proj"):
        schemes = by_layer(LLAMA, "Q4_K_M", leaf)
        assert more == [i for i, scheme in enumerate(schemes) if scheme == "Q6_K"]
        assert {"Q4_K", "Q6_K"} == set(schemes)


def test_seventy_billions_have_no_values_below_five_bits() -> None:
    """Where 8 query heads share a value, Q4_K and Q3_K become Q5_K."""
    assert {"Q5_K", "Q6_K"} == set(by_layer(LARGE, "Q4_K_M", "v_proj"))
    assert {"Q5_K"} == set(by_layer(LARGE, "Q3_K_S", "v_proj"))
    assert {"Q3_K"} == set(by_layer(LLAMA, "Q3_K_S", "v_proj"))


def test_eight_experts_spend_more_on_attention() -> None:
    """Mixtral: keys and values in Q8_0, the output in Q5_K."""
    found = [set(by_layer(MIXTRAL, "Q4_K_M", leaf)) for leaf in ("k_proj", "v_proj", "o_proj")]
    assert [{"Q8_0"}, {"Q8_0"}, {"Q5_K"}] == found


def test_a_tied_embedding_is_stored_as_the_head() -> None:
    """Gemma has no head of its own: its embedding is in Q6_K where others' is in Q4_K."""
    (line,) = (t for t in inspect("google/gemma-2-27b-it", "Q4_K_M").tensors if "embed" in t.name)
    assert "Q6_K" == line.scheme


@pytest.mark.parametrize(
    ("meant", "columns", "stands_in"),
    [
        ("Q4_K", 4096, "Q4_K"),
        ("Q4_K", 2880, "Q5_0"),
        ("Q6_K", 2880, "Q8_0"),
        ("ggml-IQ2_XS", 2880, "ggml-IQ4_NL"),
        ("ggml-Q2_K", 2880, "Q4_0"),
        ("Q4_K", 100, "f16"),
        ("Q8_0", 100, "f16"),
        ("bf16", 100, "bf16"),
    ],
)
def test_rows_that_blocks_do_not_fill_are_in_smaller_blocks(
    meant: str, columns: int, stands_in: str
) -> None:
    """Blocks of 256, else of 32, else 16 bits."""
    assert stands_in == fitting(meant, columns)


def test_mxfp4_is_taken_over_in_files_of_every_type() -> None:
    """gpt-oss's experts stay as they were published, whatever the rest is stored in."""
    for file_type in ("Q4_K_M", "Q8_0", "MXFP4_MOE", "bf16"):
        _, storage = stored("openai/gpt-oss-20b", file_type)
        expert = next(t for t in storage.architecture.kinds[0].tensors if t.copies > 1)
        assert "ggml-MXFP4" == storage.scheme_of(expert, 0)
    _, other = stored(MIXTRAL, "MXFP4_MOE")
    assert ["ggml-MXFP4", "Q8_0"] == [other.scheme_of(t, 0) for t in (EXPERT, Q_PROJ)]


def test_what_is_in_no_file_is_listed_and_told_apart() -> None:
    """DeepSeek's draft and Gemma's tower are lines, with a warning, and not in the sum."""
    for model, part in (("deepseek-ai/DeepSeek-R1", "draft"), ("google/gemma-3-12b-it", "vision")):
        answer = inspect(model, "Q4_K_M")
        aside = sum(line.bytes for line in answer.tensors if line.component == part)
        assert aside
        assert answer.checkpoint_bytes + aside == sum(line.bytes for line in answer.tensors)
        assert f"{aside:,}" in " ".join(answer.warnings)


def test_falcon_has_rules_of_its_own() -> None:
    """Its head is in Q8_0, and its way down in fewer bits than others'."""
    falcon = {
        "model_type": "falcon",
        "hidden_size": 8192,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_kv_heads": 8,
        "new_decoder_architecture": True,
        "vocab_size": 65024,
    }
    _, storage = as_gguf(read_config(falcon), "Q4_K_M", read_quantization(falcon))
    down = Tensor(
        name="transformer.h.*.mlp.dense_4h_to_h.weight",
        shape=(8192, 32768),
        component="dense_feed_forward",
    )
    assert "Q8_0" == storage.scheme_of(HEAD)
    assert ["Q6_K", "Q5_K", "Q4_K"] == [storage.scheme_of(down, layer) for layer in (0, 4, 7)]


def test_a_model_in_one_type_can_be_put_into_another() -> None:
    """Conversion is done once: a converted architecture stays what it is."""
    once, _ = stored("deepseek-ai/DeepSeek-R1", "Q4_K_M")
    twice, _ = as_gguf(once, "Q8_0", read_quantization({}))
    assert once == twice
    air, _ = stored("zai-org/GLM-4.5-Air", "Q4_K_M")
    assert air == as_gguf(air, "Q8_0", read_quantization({}))[0]
