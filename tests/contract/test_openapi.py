"""The contract: what is committed is what the code says, and what the service does."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import validate

from rackfit.api.documentation import contract
from rackfit.api.openapi import __main__ as command
from rackfit.api.openapi.document import build, spelled
from rackfit.api.openapi.examples import read_examples
from rackfit.api.openapi.links import LINKS
from rackfit.api.operation import Document, Operation
from rackfit.api.operations import BY_ID, OPERATIONS
from recording import exchanges, shape

DIRECTORY = Path(__file__).parents[2] / "openapi"
EXAMPLES = read_examples(DIRECTORY / "examples")
DOCUMENT: Mapping[str, Any] = json.loads(spelled(build(OPERATIONS, EXAMPLES)))
HINT = "run `make openapi` and commit what it writes"


def described(operation: Operation) -> Mapping[str, Any]:
    """Return what the document says of an operation."""
    found: Mapping[str, Any] = DOCUMENT["paths"][operation.path][operation.method.lower()]
    return found


def nodes(value: Any, pointer: str = "#") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Yield every value inside a document with the pointer to it."""
    yield pointer, value
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            step = str(key).replace("~", "~0").replace("/", "~1")
            yield from nodes(inner, f"{pointer}/{step}")


def valid(schema: Mapping[str, Any], instance: object) -> None:
    """Validate against a schema of the document, wherever it points."""
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(instance)


def test_the_committed_contract_is_what_the_code_says() -> None:
    """Nobody reads a contract that is out of date."""
    committed = (DIRECTORY / "openapi.json").read_bytes()
    assert committed == spelled(build(OPERATIONS, EXAMPLES)), HINT


def test_the_served_contract_is_the_committed_one() -> None:
    """The package carries the very file."""
    assert (DIRECTORY / "openapi.json").read_bytes() == contract()


def test_the_command_writes_the_contract(tmp_path: Path) -> None:
    """Twice the same bytes, with the examples beside the target."""
    (tmp_path / "examples").symlink_to(DIRECTORY / "examples")
    assert 0 == command.main([str(tmp_path / "openapi.json")])
    assert (DIRECTORY / "openapi.json").read_bytes() == (tmp_path / "openapi.json").read_bytes()


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path there is nothing to write."""
    assert 2 == command.main([])
    assert capsys.readouterr().err.startswith("usage:")


def test_the_document_is_openapi_3_1() -> None:
    """By the specification's own schema, path parameters and unique ids included."""
    validate(DOCUMENT)


def test_every_reference_resolves() -> None:
    """Each points at something that is there."""
    pointers = {pointer for pointer, _ in nodes(DOCUMENT)}
    targets = {
        node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node, dict) and "$ref" in node
    }
    assert set() == targets - pointers


def test_every_component_is_used() -> None:
    """Nothing is left behind by what was renamed."""
    targets = {
        node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node, dict) and "$ref" in node
    }
    kinds = DOCUMENT["components"].items()
    components = {f"#/components/{kind}/{name}" for kind, named in kinds for name in named}
    assert set() == components - targets


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_every_status_that_can_happen_is_there(operation: Operation) -> None:
    """And no other."""
    expected = {str(int(status)) for status in operation.all_statuses}
    assert expected == set(described(operation)["responses"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_an_answer_is_in_the_media_types_it_is_offered_in(operation: Operation) -> None:
    """A 200 has them all; what has an ETag says so."""
    answer = described(operation)["responses"]["200"]
    assert set(operation.media_types) == set(answer["content"])
    assert operation.cacheable == ("ETag" in answer["headers"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_every_operation_has_examples(operation: Operation) -> None:
    """An answer, and what is asked for it; a refusal wherever input can be wrong."""
    if operation.id in ("get_openapi", "get_docs"):  # they are this document
        return
    cases = EXAMPLES[operation.id].values()
    assert any(example.status == 200 for example in cases)
    if operation.body or operation.query or "{id}" in operation.path:
        assert any(example.status in (404, 422) for example in cases)


def test_examples_are_of_operations_there_are() -> None:
    """Each file name begins with an operation's id, each status can happen there."""
    for operation, cases in EXAMPLES.items():
        for example in cases.values():
            assert example.status in BY_ID[operation].all_statuses


def with_examples() -> list[tuple[str, Mapping[str, Any]]]:
    """Return every part of the document that has a schema and examples for it."""
    return [
        (pointer, node)
        for pointer, node in nodes(DOCUMENT)
        if isinstance(node, dict) and "schema" in node and "examples" in node
    ]


@pytest.mark.parametrize(("pointer", "node"), with_examples(), ids=lambda given: str(given)[:80])
def test_examples_keep_to_their_schemas(pointer: str, node: Mapping[str, Any]) -> None:
    """Bodies, parameters, answers and problems alike."""
    for case, example in node["examples"].items():
        try:
            valid(node["schema"], example["value"])
        except jsonschema_rs.ValidationError as error:
            pytest.fail(f"{pointer} {case}: {error}")


@pytest.mark.anyio
async def test_examples_are_what_the_service_answers() -> None:
    """As JSON and as text, to the letter; of what varies, the shape."""
    differing = []
    async for file, recorded, answered in exchanges(DIRECTORY / "examples"):
        if recorded.varies:
            same = shape(recorded.answer) == shape(answered.answer)
            same = same and len(recorded.text) == len(answered.text)
        else:
            same = msgspec.json.encode(recorded) == msgspec.json.encode(answered)
        if not same or recorded.status != answered.status:
            differing.append(file.name)
    assert [] == differing, HINT


@pytest.mark.parametrize("link", LINKS, ids=lambda link: f"{link.source}-{link.target}")
def test_links_lead_somewhere(link: Any) -> None:  # noqa: ANN401 - pytest's parameter
    """Both operations exist, and the parameters are the target's."""
    target = BY_ID[link.target]
    assert link.target in described(BY_ID[link.source])["responses"]["200"]["links"]
    assert set(link.path) == ({"id"} if "{id}" in target.path else set())
    assert (link.body is not None) == (target.body is not None)


@pytest.mark.parametrize(
    ("model", "accepted"),
    [
        ({"id": "deepseek-v4-pro"}, True),
        ({"config": {}}, True),
        ({"config": {}, "hf_quant_config": {}}, True),
        ({}, False),
        ({"id": "a", "config": {}}, False),
        ({"id": "a", "hf_quant_config": {}}, False),
        ({"id": ""}, False),
    ],
)
def test_a_model_is_exactly_one_of_three_forms(model: Mapping[str, Any], *, accepted: bool) -> None:
    """The schema says what the struct checks."""
    whole = {"$ref": "#/components/schemas/ModelRef", "components": DOCUMENT["components"]}
    assert accepted == jsonschema_rs.Draft202012Validator(whole).is_valid(model)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_an_answer_has_every_field_it_names(operation: Operation) -> None:
    """What is always sent is required, so that generated clients need not ask."""
    if operation.answer is Document or operation.answer.__struct_config__.omit_defaults:
        return
    schema = DOCUMENT["components"]["schemas"][operation.answer.__name__]
    taken = operation.answer.__struct_config__.forbid_unknown_fields  # in requests too
    assert taken or set(schema["required"]) == set(schema["properties"])
