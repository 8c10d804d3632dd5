"""The whole document: operations by path, and the components they share."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from rackfit import __version__
from rackfit.api.openapi.examples import Example, Examples
from rackfit.api.openapi.parameters import SHARED, parameters, request_body
from rackfit.api.openapi.responses import HEADERS, responses, shared_responses
from rackfit.api.openapi.schemas import Schema, components
from rackfit.api.operation import Operation, Tag

DESCRIPTION = """\
Will this model fit on these machines, how should it be split, and if not, what is the smallest \
change that makes it fit?

- Sizes are integers in bytes and say so in their names; bandwidths are bytes a second, times \
seconds. Text made for people has GiB.
- Every answer is to be had as JSON, MessagePack or a table for a terminal: ask with `Accept`.
- Names of models, accelerators and schemes are read case aside.
- An answer that may be kept has an `ETag`, on POST as well: the same question has the same \
answer, to the byte, until the version or the catalog changes (`GET /v1/version`).
- Whatever goes wrong is a problem document (RFC 9457) with a JSON Pointer to each field at \
fault. A split that does not work is no error: it is an answer with the reason.
- `If-None-Match` means to POST what it means to GET: 304 where a tag, or `*`, names the answer.
- HEAD is taken wherever GET is, OPTIONS everywhere; a slash at the end of a path changes nothing.
- Of a JSON object's members of the same name the last counts, as most parsers have it.
- Where keys are set, `Authorization: Bearer` shows one: the scope `read` is for GET, `plan` for \
the rest; health and metrics ask nobody.
- A request's head may have 32 KiB, 16 KiB of them path and query, and arrives in 10 seconds.
- Within v1 operations, fields and codes are only added: be ready for ones you do not know.
"""
TAGS: Mapping[Tag, str] = {
    "models": "What the catalog knows of models, and what a model of yours is made of.",
    "memory": "How many bytes a model takes, on one device or on every rank of a split.",
    "plans": "Fitting a model on an inventory.",
    "experts": "Putting a model's experts on ranks by their measured load.",
    "inventories": "Reading what other tools print.",
    "catalog": "Accelerators and quantization schemes.",
    "service": "The service itself: version, health, metrics and this document.",
}


BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "An API key or a signed token (JWT). Asked for only where the service has a file of keys; "
        "health and metrics never ask."
    ),
}


def build(operations: Iterable[Operation], examples: Examples) -> Schema:
    """Build the document."""
    listed = tuple(operations)
    return {
        "openapi": "3.1.0",
        "info": _info(),
        "servers": [{"url": "/", "description": "The server this document came from."}],
        "security": [{}, {"bearer": []}],
        "tags": [{"name": tag, "description": TAGS[tag]} for tag in get_args(Tag)],
        "paths": _paths(listed, examples),
        "components": {
            "schemas": components(listed),
            "responses": shared_responses(listed, examples),
            "parameters": SHARED,
            "headers": HEADERS,
            "securitySchemes": {"bearer": BEARER},
        },
    }


def _info() -> Schema:
    return {
        "title": "Rackfit",
        "version": __version__,
        "summary": "Which split of a model fits on which machines, and why not.",
        "description": DESCRIPTION,
        "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    }


def _paths(operations: Iterable[Operation], examples: Examples) -> Schema:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, examples.get(operation.id, {}))
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return dict(sorted(paths.items()))


def _operation(operation: Operation, examples: Mapping[str, Example]) -> Schema:
    described: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": parameters(operation, examples),
    }
    if operation.scope is None:
        described["security"] = []
    if operation.body is not None:
        described["requestBody"] = request_body(operation, examples)
    return described | {"responses": responses(operation, examples)}


def spelled(document: Schema) -> bytes:
    """Spell a document as it is committed: indented, one spelling only."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
