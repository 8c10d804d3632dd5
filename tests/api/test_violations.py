"""Refusals in words: what is wrong, where, and what would be right."""

import json
from typing import Any

import pytest

from rackfit.api.accelerators import AcceleratorsQuery
from rackfit.api.decoding import decode_body
from rackfit.api.inventories import NormalizeQuery
from rackfit.api.memory import TableQuery
from rackfit.api.models import ModelsQuery
from rackfit.api.queries import decode_query
from rackfit.balancing.question import PlacementRequest
from rackfit.errors import InvalidInput, TooMany, Violation
from rackfit.planning.question import PlanRequest

PLAN = {"model": {"id": "x"}, "workload": {"context_tokens": 1}, "inventory": {"nodes": []}}
NODE = {"name": "a", "accelerator": "h100", "count": 8}


def nodes(**changed: object) -> dict[str, Any]:
    """Return an inventory with a node changed."""
    return {"inventory": {"nodes": [NODE | changed]}}


@pytest.mark.parametrize(
    ("changed", "pointer", "detail"),
    [
        ({"limit": 0}, "/limit", "`limit` must be a whole number from 1 to 100."),
        (
            {"limit": 1.5},
            "/limit",
            "`limit` must be a whole number from 1 to 100, not a number with a fraction.",
        ),
        ({"limit": "5"}, "/limit", "`limit` must be a whole number from 1 to 100, not text."),
        (
            {"model": {"id": ""}},
            "/model/id",
            "`id` must be text of 1 to 200 characters.",
        ),
        (
            {"quantization": 8},
            "/quantization",
            "`quantization` must be text of 1 to 200 characters, not a whole number.",
        ),
        (
            {"inventory": {}},
            "/inventory/nodes",
            "`nodes` is missing; it must be a list of at most 200,000 items.",
        ),
        (
            {"inventory": {"nodes": [1]}},
            "/inventory/nodes/0",
            "Item 0 of `nodes` must be an object, not a whole number.",
        ),
        (
            nodes(accelerator=1),
            "/inventory/nodes/0/accelerator",
            "`accelerator` must be text of 1 to 200 characters or an object, not a whole number.",
        ),
        (
            nodes(name="a\n"),
            "/inventory/nodes/0/name",
            "`name` must be text of 1 to 253 characters without control characters.",
        ),
        (
            {"constraints": {"accelerators": []}},
            "/constraints/accelerators",
            "`accelerators` must be a list of 1 to 100 items.",
        ),
        (
            {"engine": {"name": "vllm", "gpu_memory_utilization": 2}},
            "/engine/gpu_memory_utilization",
            "`gpu_memory_utilization` must be a number above 0 and up to 1.",
        ),
        (
            {"prices": {"h100": "cheap"}},
            "/prices",
            "A value in `prices` must be a number, not text.",
        ),
        ({"prices": {"": 1}}, "/prices", "A name in `prices` must be text of 1 to 200 characters."),
        ({"model": {}}, "/model", "A model is exactly one of `id`, `config`, `card` and `gguf`."),
        ({"model": {"gguf": "R0dVRg"}}, "/model/gguf", "`gguf` must be base64 or a list."),
        (
            {"objective": "best"},
            "/objective",
            (
                "`objective` must be 'fewest-accelerators', 'highest-throughput', 'lowest-cost', "
                "'lowest-latency' or 'most-headroom' or a list of 2 items, not 'best'."
            ),
        ),
    ],
)
def test_a_wrong_field_is_told_in_a_sentence(
    changed: dict[str, Any], pointer: str, detail: str
) -> None:
    """It names the field and says what would be right."""
    with pytest.raises(InvalidInput) as caught:
        decode_body(json.dumps(PLAN | changed).encode(), PlanRequest)
    assert (Violation(pointer, detail),) == caught.value.violations


def test_an_item_of_a_list_in_a_list_is_told_by_both_places() -> None:
    """Neither place alone would find it."""
    with pytest.raises(InvalidInput) as caught:
        decode_body(b'{"loads": [[1], [2, "x"]], "ranks": 1, "slots": 1}', PlacementRequest)
    (violation,) = caught.value.violations
    assert "/loads/1/1" == violation.pointer
    assert violation.detail.startswith("Item 1 of item 1 of `loads` must be a number")


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"text"', b"null"])
def test_a_body_of_another_kind_is_told_so(raw: bytes) -> None:
    """It points at the whole body."""
    with pytest.raises(InvalidInput, match=r"The body must be an object, not ") as caught:
        decode_body(raw, PlanRequest)
    assert "" == caught.value.violations[0].pointer


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"constraints": {"accelerators": ["h100"] * 101}}, "/constraints/accelerators"),
        (nodes(free_bytes=[1] * 1025), "/inventory/nodes/0/free_bytes"),
        ({"prices": {str(n): 1 for n in range(1001)}}, "/prices"),
    ],
)
def test_too_many_items_are_an_error_of_their_own(changed: dict[str, Any], pointer: str) -> None:
    """It says how many may be."""
    with pytest.raises(TooMany, match=r"` may have at most [0-9,]+ items\.") as caught:
        decode_body(json.dumps(PLAN | changed).encode(), PlanRequest)
    assert pointer == caught.value.violations[0].pointer


@pytest.mark.parametrize(
    ("query", "kind", "detail"),
    [
        (
            b"limit=1e1",
            ModelsQuery,
            "`limit` must be a whole number from 1 to 1,000; '1e1' is not.",
        ),
        (b"limit=0", ModelsQuery, "`limit` must be a whole number from 1 to 1,000; '0' is not."),
        (
            b"overhead=much",
            TableQuery,
            "`overhead` must be a number from 0 to 10; 'much' is not.",
        ),
        (
            b"method=guess",
            TableQuery,
            "`method` must be 'architecture' or 'rule-of-thumb'; 'guess' is not.",
        ),
        (
            b"context_tokens=1,0",
            TableQuery,
            (
                "Item 1 of `context_tokens` must be a whole number from 1 to 4,294,967,296; '1,0' "
                "is not."
            ),
        ),
        (b"", NormalizeQuery, "`format` is missing; it must be text of at most 80 characters."),
        (
            b"name=" + b"x" * 300,
            AcceleratorsQuery,
            f"`name` must be text of at most 200 characters; '{'x' * 80}...' is not.",
        ),
    ],
)
def test_a_wrong_parameter_is_told_with_what_was_given(
    query: bytes, kind: type, detail: str
) -> None:
    """As it was spelled, whatever it was read as."""
    with pytest.raises(InvalidInput) as caught:
        decode_query(query, kind)
    (violation,) = caught.value.violations
    assert detail == violation.detail
    assert "?" + (query.partition(b"=")[0].decode() or "format") == violation.pointer
