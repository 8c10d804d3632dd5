"""Schemas as tables: a row a property."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rackfit.api.docs.markup import (
    Html,
    code,
    element,
    escaped,
    joined,
    link,
    paragraphs,
    prose,
    table,
)

Schema = Mapping[str, Any]
NULL = {"type": "null"}


def schemas(components: Mapping[str, Schema]) -> Html:
    """Show every schema under its name."""
    return joined(_schema(name, schema) for name, schema in components.items())


def _schema(name: str, schema: Schema) -> Html:
    required = schema.get("required", ())
    rows = [
        (code(member), _member(inner, needed=member in required), prose(_notes(inner)))
        for member, inner in schema.get("properties", {}).items()
    ]
    inside = table(("Field", "Type", "Bounds and default"), rows) if rows else kind(schema)
    description = paragraphs(schema.get("description", ""))
    return element(
        "section", element("h3", escaped(name)), description, inside, id=f"schema-{name}"
    )


def _member(schema: Schema, *, needed: bool) -> Html:
    return (
        kind(schema) if needed else joined((kind(schema), element("small", escaped(" optional"))))
    )


def kind(schema: Schema) -> Html:  # noqa: PLR0911 - a case a kind
    """Say what type of value a schema takes, with links to other schemas."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return link(f"schema-{name}", escaped(name))
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            return joined((kind(choice) for choice in choices), " or ")
        case {"enum": list(values)}:
            return joined((code(json.dumps(value)) for value in values), " or ")
        case {"type": "array", "items": items}:
            return joined((escaped("list of "), kind(items)))
        case {"type": "object", "additionalProperties": dict(values)}:
            return joined((escaped("map of "), kind(values)))
        case {"type": str(name)}:
            return escaped(name)
        case _:
            return escaped("any JSON")


def _notes(schema: Schema) -> str:
    return ", ".join(_bounds(schema))


def _bounds(schema: Schema) -> Iterator[str]:
    """Say the bounds of a value, and what it is where it is left out."""
    given = [choice for choice in schema.get("anyOf", ()) if choice != NULL]
    for choice in given or [schema]:
        yield from _bounds_of(choice)
    if schema.get("default") not in (None, "", [], {}):
        yield f"default `{json.dumps(schema['default'])}`"


def _bounds_of(schema: Schema) -> Iterator[str]:
    if "minLength" in schema or "minItems" in schema:
        yield "not empty"
    for key, words in BOUNDS.items():
        if key in schema:
            yield words.format(schema[key])


BOUNDS = {
    "minimum": "at least {:,}",
    "exclusiveMinimum": "above {:,}",
    "maximum": "at most {:,}",
    "maxLength": "at most {:,} characters",
    "maxItems": "at most {:,} items",
    "maxProperties": "at most {:,} keys",
}
"""How a bound is said, by its keyword."""


def bounds(schema: Schema) -> Html:
    """Say the bounds of a parameter."""
    return prose(_notes(schema))
