"""What a request carries beside its method: parameters, headers, a body."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from rackfit.api.openapi.examples import Example, Request, body_examples
from rackfit.api.openapi.schemas import Schema, parameter_schema, reference
from rackfit.api.operation import JSON, Operation
from rackfit.catalog.entries import Name

IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETags of answers the caller has: 304 and no content if one is current.",
    "schema": {"type": "string"},
}
REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "description": (
        "An id to find this request by in the log, of letters, digits, `.`, `_` and `-`; any "
        "other is replaced by a new one."
    ),
    "schema": {"type": "string"},
}
REQUEST_TIMEOUT = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": (
        "Seconds to wait for the answer, waiting for its turn included; no more than the service "
        "gives any request. A search cut short by it says `complete: false`, and what has no "
        "answer by then is a 503."
    ),
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
SHARED = {
    "IfNoneMatch": IF_NONE_MATCH,
    "RequestId": REQUEST_ID,
    "RequestTimeout": REQUEST_TIMEOUT,
}


def parameters(operation: Operation, examples: Mapping[str, Example]) -> list[Schema]:
    """Return the parameters of an operation; their examples go by the names of the cases."""
    answered = {n: e.request for n, e in examples.items() if e.status == HTTPStatus.OK}
    return [
        *_path_parameters(operation, answered),
        *_query_parameters(operation, answered),
        *([_shared("IfNoneMatch")] if operation.cacheable else ()),
        _shared("RequestId"),
        _shared("RequestTimeout"),
    ]


def _shared(name: str) -> Schema:
    return {"$ref": f"#/components/parameters/{name}"}


def _path_parameters(operation: Operation, answered: Mapping[str, Request]) -> list[Schema]:
    if "{id}" not in operation.path:
        return []
    parameter = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "Id or another name, case aside; a model's may hold one slash.",
        "schema": parameter_schema(Name),
    }
    return [parameter | _examples({case: r.path["id"] for case, r in answered.items()})]


def _query_parameters(operation: Operation, answered: Mapping[str, Request]) -> list[Schema]:
    if operation.query is None:
        return []
    return [_query_parameter(field, answered) for field in msgspec.structs.fields(operation.query)]


def _query_parameter(field: msgspec.structs.FieldInfo, answered: Mapping[str, Request]) -> Schema:
    schema = parameter_schema(field.type)
    if field.default not in (msgspec.NODEFAULT, None):
        schema["default"] = field.default
    parameter: Schema = {"name": field.encode_name, "in": "query", "required": field.required}
    parameter["description"] = schema.pop("description")
    if schema.get("type") == "array":
        parameter |= {"style": "form", "explode": False}
    given = {c: r.query[field.name] for c, r in answered.items() if field.name in r.query}
    return (
        parameter | {"schema": schema} | _examples({c: _read(g, schema) for c, g in given.items()})
    )


def _read(text: str, schema: Schema) -> Any:  # noqa: ANN401 - any JSON
    """Read a parameter as its schema has it: the document has values, not spellings."""
    match schema["type"]:
        case "array":
            return [_read(item, schema["items"]) for item in text.split(",")]
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case _:
            return text


def _examples(values: Mapping[str, Any]) -> Schema:
    return {"examples": {c: {"value": value} for c, value in values.items()}} if values else {}


def request_body(operation: Operation, examples: Mapping[str, Example]) -> Schema:
    """Return the body of an operation that takes one."""
    return {
        "required": True,
        "content": {
            media_type: {
                "schema": _body_schema(operation, media_type),
                "examples": body_examples(examples, media_type),
            }
            for media_type in operation.body_media_types
        },
    }


def _body_schema(operation: Operation, media_type: str) -> Schema:
    if operation.body is not None and operation.body is not bytes:
        return reference(operation.body)
    return {"type": "object"} if media_type == JSON else {"type": "string", "minLength": 1}
