"""The contract: what is committed is what the code says, and what the service does."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import validate

from rackfit.api.documentation import contract
from rackfit.api.openapi import __main__ as command
from rackfit.api.openapi.document import build, spelled
from rackfit.api.openapi.examples import Example, read_examples
from rackfit.api.openapi.examples import Request as Asked
from rackfit.api.openapi.links import LINKS, Link
from rackfit.api.operation import Document, Operation
from rackfit.api.operations import BY_ID, OPERATIONS
from rackfit.settings import Settings
from recording import exchanges, shape
from serving import running

DIRECTORY = Path(__file__).parents[2] / "openapi"
EXAMPLES = read_examples(DIRECTORY / "examples")
DOCUMENT: Mapping[str, Any] = json.loads(spelled(build(OPERATIONS, EXAMPLES)))
HINT = "run `make openapi` and commit what it writes"


PLAN = {
    "model": {"id": "Qwen/Qwen3-32B"},
    "workload": {"context_tokens": 32768, "sequences": 4},
    "inventory": {"nodes": [{"name": "a", "accelerator": "NVIDIA-H200", "count": 8}]},
}
CHOICES: list[dict[str, Any]] = [
    {},
    {"quantization": "fp8"},
    {"kv_cache_dtype": "fp8"},
    {"engine": {"name": "vllm", "gpu_memory_utilization": 0.8}},
    {"quantization": "fp8", "kv_cache_dtype": "fp8", "engine": {"name": "vllm"}},
]


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
    # Security schemes are named where they are asked for, not referred to.
    schemes = {f"#/components/securitySchemes/{n}" for s in DOCUMENT["security"] for n in s}
    assert set() == components - targets - schemes


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
    cases = EXAMPLES[operation.id].values()
    assert any(example.status == 200 for example in cases)
    if operation.body or operation.query or "{id}" in operation.path:
        assert any(example.status in (404, 422) for example in cases)


def test_every_problem_has_an_example() -> None:
    """Also those that no well-meant request brings about."""
    described = DOCUMENT["components"]["responses"]
    for name in described.keys() - {"not-modified"}:
        assert described[name]["content"]["application/problem+json"]["examples"], name


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


@pytest.mark.anyio
@pytest.mark.parametrize("link", LINKS, ids=lambda link: f"{link.source}-{link.target}")
async def test_links_lead_to_an_answer(link: Link) -> None:
    """From every example of the source that has what the link takes, to a 200 of the target."""
    assert link.target in described(BY_ID[link.source])["responses"]["200"]["links"]
    followed = [e for e in EXAMPLES[link.source].values() if is_followed(link, e)]
    async with running(Settings(compute_processes=1)) as client:
        statuses = {(await follow(client, link, example)).status_code for example in followed}
    assert {200} == statuses


@pytest.mark.anyio
async def test_the_link_from_a_plan_leads_to_its_own_memory() -> None:
    """The figures are the best plan's, whatever its request chose or left out."""
    (link,) = [x for x in LINKS if (x.source, x.target) == ("create_plan", "answer_memory")]
    async with running(Settings(compute_processes=1)) as client:
        for choice in CHOICES:
            asked = PLAN | choice
            plan = (await client.post("/v1/plans", json=asked)).json()
            example = Example(summary="", request=Asked(body=asked), status=200, answer=plan)
            memory = (await follow(client, link, example)).json()
            assert [rank["memory"] for rank in plan["plans"][0]["ranks"]] == memory["ranks"]
            assert plan["plans"][0]["capacity"] == memory["capacity"]


def is_followed(link: Link, example: Example) -> bool:
    """Tell whether an example is an answer that has what a link takes."""
    return example.status == 200 and not (
        link.source == "create_plan" and not example.answer["plans"]
    )


async def follow(client: httpx.AsyncClient, link: Link, example: Example) -> httpx.Response:
    """Send the request a link describes."""
    target = BY_ID[link.target]
    path = {name: evaluated(expression, example) for name, expression in link.path.items()}
    assert set(path) == ({"id"} if "{id}" in target.path else set())
    body = None if link.body is None else evaluated(link.body, example)
    return await client.request(target.method, target.path.format_map(path), json=body)


def evaluated(expression: Any, example: Example) -> Any:  # noqa: ANN401 - any JSON
    """Evaluate runtime expressions; a member whose expression points at nothing is left out."""
    if isinstance(expression, dict):
        members = {name: evaluated(inner, example) for name, inner in expression.items()}
        return {name: value for name, value in members.items() if value is not None}
    if not str(expression).startswith("$"):
        return expression
    where, _, pointer = expression.partition("#")
    if where.startswith("$request.path."):
        return example.request.path[where.rpartition(".")[2]]
    value = example.request.body if where == "$request.body" else example.answer
    for step in pointer.split("/")[1:]:
        value = value[int(step)] if isinstance(value, list) else value.get(step)
    return value


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
