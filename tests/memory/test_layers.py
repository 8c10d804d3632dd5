"""Memory of stages that have as many layers as the caller says."""

from typing import Any

import msgspec
import pytest

from rackfit.catalog import Catalog
from rackfit.errors import InvalidInput
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import MemoryAnswer, MemoryRequest

Json = dict[str, Any]
LAYERS = 64


def asked(**fields: object) -> Json:
    """Qwen3-32B on four stages of H100 under vLLM."""
    return {
        "model": {"id": "Qwen/Qwen3-32B"},
        "engine": {"name": "vllm"},
        "split": {"pipeline": 4},
        "accelerator": "NVIDIA-H100-80GB-HBM3",
        "workload": {"context_tokens": 8192, "sequences": 4},
        **fields,
    }


def answered(catalog: Catalog, question: Json) -> MemoryAnswer:
    """Return the answer to a question as it stands on the wire."""
    return answer_memory(msgspec.convert(question, MemoryRequest), catalog, device_reserve=0.1)


def test_the_engines_own_division_is_what_is_counted_without_one(catalog: Catalog) -> None:
    """VLLM gives 16 layers to each of four stages of 64."""
    alone = answered(catalog, asked())
    assert alone == answered(catalog, asked(layers_by_stage=[16] * 4))


def test_each_stage_has_the_layers_it_is_given(catalog: Catalog) -> None:
    """Stages between the ends differ by their layers alone, as the fullest says."""
    even = answered(catalog, asked(layers_by_stage=[16] * 4)).ranks
    uneven = answered(catalog, asked(layers_by_stage=[15, 20, 16, 13]))
    layer = (uneven.ranks[1].weights_bytes - even[1].weights_bytes) // 4
    assert layer > 0
    assert even[0].weights_bytes - layer == uneven.ranks[0].weights_bytes
    assert even[3].weights_bytes - 3 * layer == uneven.ranks[3].weights_bytes
    assert uneven.ranks[1].kv_cache_bytes * 16 == even[1].kv_cache_bytes * 20
    assert uneven.largest_rank is not None
    assert uneven.largest_rank.reason == "It holds 20 of 64 layers."


def test_what_is_within_reach_is_so_with_these_layers(catalog: Catalog) -> None:
    """The longest context fits when it is asked for in turn, and a longer one does not."""
    question = asked(
        layers_by_stage=[15, 20, 16, 13], workload={"context_tokens": 1, "sequences": 40}
    )
    reach = answered(catalog, question).reach
    assert reach is not None
    longest = reach.longest_context_tokens
    for tokens, fits in ((longest, True), (longest + 1, False)):
        workload = {"context_tokens": tokens, "sequences": 40}
        assert answered(catalog, question | {"workload": workload}).feasible is fits


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layers_by_stage": [16] * 3}, "3 stages of 48 layers"),
        ({"layers_by_stage": [16, 16, 16, 17]}, "4 stages of 65 layers"),
        ({"layers_by_stage": [16] * 4, "engine": {"name": "tensorrt-llm"}}, "divides the layers"),
        ({"layers_by_stage": [64], "split": None, "method": "rule-of-thumb"}, "knows no stages"),
    ],
)
def test_layers_that_cannot_be_so_are_refused(catalog: Catalog, fields: Json, words: str) -> None:
    """The list is the model's and the split's, and for an engine that can be told."""
    with pytest.raises(InvalidInput, match=words) as caught:
        answered(catalog, asked(**fields))
    assert [v.pointer for v in caught.value.violations] == ["/layers_by_stage"]
