"""A checkpoint's own safetensors header or index, beside its config."""

from collections.abc import Mapping
from functools import cache
from math import inf, nan
from typing import Any

import pytest

from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Tensor
from rackfit.catalog.load import Catalog, load_catalog
from rackfit.errors import InvalidInput
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectAnswer, InspectRequest, ModelRef

MODEL = "Qwen/Qwen3-0.6B"
BYTES = 1_192_099_840  # 596,049,920 parameters in bf16


@cache
def catalog() -> Catalog:
    """Return the shipped catalog."""
    return load_catalog()


@cache
def config() -> dict[str, Any]:
    """Return a published config."""
    found = catalog().models[MODEL].config
    assert found is not None
    return found


def header() -> dict[str, Any]:
    """Return the header of the checkpoint that the config describes."""
    architecture = read_config(config())
    tensors: list[tuple[str, Tensor]] = [
        (tensor.name.replace("*", str(number)), tensor)
        for number, layer in enumerate(architecture.layers)
        for tensor in layer.tensors
    ]
    tensors += [(tensor.name, tensor) for tensor in architecture.outer]
    listed: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors:
        end = at + 2 * tensor.elements
        listed[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [at, end]}
        at = end
    return listed


def inspect(safetensors: Mapping[str, Any], quantization: str | None = None) -> InspectAnswer:
    """Inspect the model with what is known of its checkpoint."""
    reference = ModelRef(config=config(), safetensors=dict(safetensors))
    return inspect_model(InspectRequest(model=reference, quantization=quantization), catalog())


def refusal(safetensors: Mapping[str, Any]) -> tuple[str, str]:
    """Return pointer and detail of a refusal."""
    with pytest.raises(InvalidInput) as refused:
        inspect(safetensors)
    (violation,) = refused.value.violations
    return violation.pointer, violation.detail


def test_a_header_that_agrees_is_not_remarked_on() -> None:
    """The same tensors and bytes: the sum is the config's, and there is no warning."""
    answer = inspect(header())
    assert (BYTES, ()) == (answer.checkpoint_bytes, answer.warnings)


def test_what_differs_is_told_with_its_size_and_names() -> None:
    """A head of its own, a tensor gone and another's shape: bytes, share and examples."""
    listed = header()
    listed["lm_head.weight"] = listed.pop("model.embed_tokens.weight")
    gone = [listed.pop(f"model.layers.{i}.self_attn.q_norm.weight") for i in range(28)]
    listed["model.norm.weight"] = {"dtype": "BF16", "shape": [2048], "data_offsets": [0, 4096]}
    answer = inspect(listed)
    assert BYTES - len(gone) * 256 + 2048 == answer.checkpoint_bytes
    said = (
        "The safetensors header holds 1,192,094,720 bytes, 5,120 (0.00%) less than the config "
        "counts. Only in the header: lm_head.weight. Only in the config: "
        "model.layers.*.self_attn.q_norm.weight, model.embed_tokens.weight. "
        "Of another shape: model.norm.weight (2048, not 1024)."
    )
    assert (said,) == answer.warnings


def test_an_index_gives_the_sum_and_the_names() -> None:
    """`total_size` is believed; an index without it says nothing of bytes."""
    files = dict.fromkeys((n for n in header() if n != "__metadata__"), "model.safetensors")
    answer = inspect({"metadata": {"total_size": BYTES + 100}, "weight_map": files})
    assert BYTES + 100 == answer.checkpoint_bytes
    assert "100 (0.00%) more than the config counts" in answer.warnings[0]
    assert BYTES == inspect({"weight_map": files}).checkpoint_bytes


def test_another_scheme_is_counted_and_not_listed() -> None:
    """The header is the checkpoint's own; what is asked for in 4 bits is smaller."""
    assert inspect(header(), "Q4_K_M").checkpoint_bytes < BYTES // 2


@pytest.mark.parametrize(
    ("entry", "pointer", "said"),
    [
        ({"dtype": "BF16"}, "/a", "shape"),
        ({"dtype": "Q9", "shape": [1], "data_offsets": [0, 1]}, "/a/dtype", "no type 'Q9'"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "/a/data_offsets", "not 8 of F32"),
        (
            {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
            "/a/data_offsets",
            "begin",
        ),
        ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 0]}, "/a/data_offsets", "-8 of F32"),
        (7, "/a", "Expected `object`"),
    ],
)
def test_what_no_header_holds_is_refused(entry: object, pointer: str, said: str) -> None:
    """Each with a pointer to the entry at fault."""
    at, detail = refusal({"a": entry})
    assert f"/model/safetensors{pointer}" == at
    assert said in detail


def test_an_empty_header_and_a_wrong_sum_are_refused() -> None:
    """There is nothing to compare, or nothing to believe."""
    assert ("/model/safetensors", "It names no tensor.") == refusal({})
    for wrong in ("many", True, -1, 0.5, inf, nan, 10**4000):
        pointer, _ = refusal({"weight_map": {}, "metadata": {"total_size": wrong}})
        assert "/model/safetensors/metadata/total_size" == pointer


def test_safetensors_belong_to_a_config() -> None:
    """A catalog id or a card has no checkpoint of the caller's."""
    with pytest.raises(ValueError, match="`safetensors` belongs to a `config`"):
        ModelRef(id=MODEL, safetensors={})
