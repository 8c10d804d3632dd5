"""Component schemas: what msgspec says of the structs, and the little it cannot know."""

import inspect as python_inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from rackfit.api.answers import Problem
from rackfit.api.memory import BatchRequest
from rackfit.api.operation import Document, Operation
from rackfit.memory.question import MemoryRequest, ModelRef

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
MODEL_FORMS = {
    "ModelById": (("id",), "A model of the catalog, by id or alias."),
    "ModelByConfig": (
        ("config", "hf_quant_config", "safetensors"),
        "A published config.json, as it is, and what else is known of its checkpoint.",
    ),
    "ModelByCard": (("card",), "A model as a public card describes it."),
    "ModelByGguf": (("gguf",), "A model as the header of its GGUF describes it."),
}
"""The forms a `ModelRef` has: the members of each, the first of which it must have."""
UNKEPT = ("default", "discriminator")


def reference(kind: type) -> Schema:
    """Point at the component of a struct."""
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def components(operations: Iterable[Operation]) -> Mapping[str, Schema]:
    """Return the schemas of all bodies and answers, by name."""
    requests = [o.body for o in operations if isinstance(o.body, type) and o.body is not bytes]
    answers = [o.answer for o in operations if o.answer is not Document]
    # A batch's questions are decoded one by one, so that none of its structs names them.
    given, taken = _structs([*requests, MemoryRequest]), _structs([*answers, Problem])
    _, schemas = msgspec.json.schema_components([*given, *taken], ref_template=REFERENCE)
    for kind in taken.keys() - given.keys():
        _complete(schemas[kind.__name__], kind)
    schemas |= _model_forms(schemas[ModelRef.__name__])
    schemas[BatchRequest.__name__] |= _batch(schemas[BatchRequest.__name__])
    return {name: _annotated(schema) for name, schema in sorted(schemas.items())}


def parameter_schema(kind: object) -> Schema:
    """Return the schema of a query parameter, which is never null: it is left out instead."""
    schema = msgspec.json.schema(kind)
    given = [s for s in schema.pop("anyOf", ()) if s != {"type": "null"}]
    merged: Schema = _annotated(schema | given[0] if given else schema)
    return merged


def _structs(kinds: Iterable[type]) -> dict[type, None]:
    """Return every struct that `kinds` are made of, in the order met."""
    met: dict[type, None] = {}
    waiting = [inspect.type_info(kind) for kind in kinds]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, inspect.StructType):
            if kind.cls in met:
                continue
            met[kind.cls] = None
        waiting += _parts(kind)
    return met


def _parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    match kind:
        case inspect.StructType(fields=fields):
            yield from (field.type for field in fields)
        case inspect.UnionType(types=types):
            yield from types
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield item
        case inspect.DictType(value_type=value):
            yield value
        case inspect.Metadata(type=inner):
            yield inner


def _complete(schema: Schema, kind: type) -> None:
    """Require every field of a struct that only answers hold: what has a default is sent too."""
    if not kind.__struct_config__.omit_defaults:  # type: ignore[attr-defined]
        schema["required"] = list(schema["properties"])
        for member in schema["properties"].values():
            member.pop("default", None)


def _model_forms(model: Schema) -> Mapping[str, Schema]:
    """Tell the forms of a model apart, which its struct does in a check of its own."""
    forms = {name: _form(model, *form) for name, form in MODEL_FORMS.items()}
    whole = {key: model[key] for key in ("title", "description")}
    return forms | {
        ModelRef.__name__: whole | {"oneOf": [{"$ref": REFERENCE.format(name=n)} for n in forms]}
    }


def _form(model: Schema, members: tuple[str, ...], description: str) -> Schema:
    """Make the schema of one form: the first of its members has to be there."""
    properties = {name: model["properties"][name] for name in members}
    given = [kind for kind in properties[members[0]]["anyOf"] if kind != {"type": "null"}]
    properties[members[0]] = given[0] if len(given) == 1 else {"anyOf": given}
    return {
        "title": description.rstrip("."),
        "description": description,
        "type": "object",
        "properties": properties,
        "required": [members[0]],
        "additionalProperties": False,
    }


def _batch(schema: Schema) -> Schema:
    """Say what a batch's questions are, which are decoded one by one."""
    questions = schema["properties"]["requests"]
    return {"properties": {"requests": questions | {"items": reference(MemoryRequest)}}}


def _annotated(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Add what clients are generated from: number formats, types of enumerations.

    Discriminators are left out: a tag may be an integer, which they have no room for, and each
    variant says its tag itself.
    """
    match schema:
        case list():
            return [_annotated(part) for part in schema]
        case dict():
            parts = {key: _annotated(part) for key, part in schema.items() if key not in UNKEPT}
            return parts | _hints(schema)
        case _:
            return schema


def _hints(schema: Schema) -> Schema:
    hints = {"default": schema["default"]} if "default" in schema else {}
    match schema:
        case {"type": "integer"}:
            hints["format"] = "int64"
        case {"type": "number"}:
            hints["format"] = "double"
        case {"enum": [str(), *_]}:
            hints["type"] = "string"
        case {"enum": [int(), *_]}:
            hints["type"] = "integer"
    if isinstance(schema.get("description"), str):
        hints["description"] = python_inspect.cleandoc(schema["description"])
    return hints
