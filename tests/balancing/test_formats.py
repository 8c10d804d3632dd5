"""A placement as each engine takes it."""

from typing import Any

import pytest
import yaml

from rackfit.api.expert_placements import place_experts
from rackfit.api.operation import Context
from rackfit.api.operations import OPERATIONS
from rackfit.balancing.question import PlacementAnswer, PlacementRequest
from rackfit.catalog import load_catalog
from rackfit.engines import PLACED
from rackfit.errors import InvalidInput
from rackfit.settings import Settings

CONTEXT = Context(
    settings=Settings(),
    catalog=load_catalog(),
    expired=lambda: False,
    operations=OPERATIONS,
    condition=lambda: pytest.fail("nobody asks"),
)


def placed(*formats: str) -> PlacementAnswer:
    """Place two layers, the model's third and fourth, for some engines."""
    loads = [[9.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 9.0]]
    request = PlacementRequest(loads=loads, ranks=2, slots=6, formats=[*formats], first_layer=3)
    return place_experts(CONTEXT, {}, None, request)


def written(name: str) -> Any:  # noqa: ANN401 - an engine's own format
    """Return what one engine takes."""
    formats = placed(name).formats
    assert formats
    return next(iter(formats.values()))


def slots() -> list[list[int]]:
    """Return the placement itself."""
    return [list(layer.slot_to_expert) for layer in placed().layers]


def test_engines_that_take_a_placement() -> None:
    """Each is named once and asked for in any case, by any of its names."""
    assert ("vllm", "sglang", "tensorrt-llm") == PLACED
    assert {"vllm", "tensorrt-llm"} == set(placed("vLLM", "trtllm").formats or ())
    assert placed().formats is None


def test_vllm_takes_maps_of_layers_with_experts() -> None:
    """Both ways, the one from experts filled up with -1."""
    maps = written("vllm")

    assert slots() == maps["physical_to_logical_map"]
    for held, where, counts in zip(
        slots(), maps["logical_to_physical_map"], maps["logical_replica_count"], strict=True
    ):
        assert [held.count(expert) for expert in range(4)] == counts
        expected = [[s for s, held_by in enumerate(held) if held_by == e] for e in range(4)]
        assert expected == [[slot for slot in each if slot >= 0] for each in where]
        assert 1 == len({len(each) for each in where})


def test_sglang_takes_a_map_of_every_layer() -> None:
    """The dense ones before the first have a row too, which nothing looks at."""
    rows = written("sglang")["physical_to_logical_map"]

    assert [*[[0, 1, 2, 3, 0, 1]] * 3, *slots()] == rows


def test_tensorrt_llm_takes_yaml_by_layer() -> None:
    """The numbers of the model's layers, and no updates while it runs."""
    expected = {
        "initial_global_assignments": dict(enumerate(slots(), 3)),
        "layer_updates_per_iter": 0,
        "num_slots": 6,
    }
    assert expected == yaml.safe_load(written("tensorrt-llm")["yaml"])


@pytest.mark.parametrize("name", ["llama.cpp", "nothing"])
def test_engine_that_takes_none_is_refused(name: str) -> None:
    """With the place of its name in the list."""
    with pytest.raises(InvalidInput) as refused:
        placed("vllm", name)

    assert "/formats/1" == refused.value.violations[0].pointer
