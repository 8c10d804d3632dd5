"""The list of operations: what every one of them must be."""

import re
from collections.abc import Mapping

import msgspec
import pytest

from rackfit.api.operation import NEGOTIATED, Document, Operation
from rackfit.api.operations import BY_ID, OPERATIONS
from rackfit.api.problems import KINDS
from rackfit.api.routing import allowed_methods, litestar_paths

EXPECTED = """
GET /v1/models
GET /v1/models/{id}
GET /v1/models/{id}/memory
POST /v1/models/inspect
POST /v1/memory
POST /v1/memory/batch
POST /v1/plans
POST /v1/expert-placements
POST /v1/inventories/normalize
GET /v1/accelerators
GET /v1/accelerators/{id}
GET /v1/quantizations
GET /v1/version
GET /health/live
GET /health/ready
GET /metrics
"""


def test_the_promised_operations_exist() -> None:
    """Within v1 operations are only added."""
    assert set(EXPECTED.split("\n")) - {""} <= {f"{o.method} {o.path}" for o in OPERATIONS}


def test_ids_and_routes_are_unique() -> None:
    """An id, and a method on a path, name one operation."""
    assert len(OPERATIONS) == len(BY_ID) == len({(o.method, o.path) for o in OPERATIONS})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_an_operation_is_described(operation: Operation) -> None:
    """Ids are snake case, summaries fit a line, descriptions are sentences."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation.id)
    assert 10 <= len(operation.summary) <= 80
    assert operation.description.endswith(".")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_an_operation_is_sound(operation: Operation) -> None:
    """Input structs refuse unknown fields; a document is not negotiated; GET has no body."""
    for struct in (operation.query, operation.body):
        if struct is not None and struct is not bytes:
            assert struct.__struct_config__.forbid_unknown_fields
            assert struct.__struct_config__.frozen
    assert (operation.answer is Document) == (operation.media_types != NEGOTIATED)
    assert operation.method == "POST" or operation.body is None


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.query], ids=lambda o: o.id)
def test_every_parameter_is_described(operation: Operation) -> None:
    """What a parameter does stands in the contract."""
    assert operation.query
    schema = msgspec.json.schema(operation.query)["$defs"][operation.query.__name__]
    assert all("description" in parameter for parameter in schema["properties"].values())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_every_status_has_a_problem_type(operation: Operation) -> None:
    """Whatever is answered beside 200 and 304 is a documented problem."""
    assert set(operation.all_statuses) <= {200, 304, *KINDS}
    assert sorted(operation.all_statuses) == list(operation.all_statuses)


@pytest.mark.parametrize(
    ("by_method", "expected"),
    [
        ({"GET": 1}, ["GET", "HEAD", "OPTIONS"]),
        ({"POST": 1}, ["OPTIONS", "POST"]),
        ({"POST": 1, "GET": 2}, ["GET", "HEAD", "OPTIONS", "POST"]),
    ],
)
def test_allow_is_complete(by_method: Mapping[str, int], expected: list[str]) -> None:
    """HEAD comes with GET, OPTIONS with every path."""
    assert expected == [method.value for method in allowed_methods(by_method)]


def test_only_a_models_id_may_hold_a_slash() -> None:
    """A model's path has two spellings, any other one."""
    expected = ["/v1/models/{id:str}/memory", "/v1/models/{owner:str}/{id:str}/memory"]
    assert expected == litestar_paths("/v1/models/{id}/memory")
    assert ["/v1/accelerators/{id:str}"] == litestar_paths("/v1/accelerators/{id}")
