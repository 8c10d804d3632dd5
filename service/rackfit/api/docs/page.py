"""The page: what there is, then each operation, then the schemas."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from rackfit.api.docs.examples import BASE, examples, texts
from rackfit.api.docs.markup import (
    Html,
    block,
    code,
    command,
    element,
    escaped,
    joined,
    link,
    paragraphs,
    prose,
    table,
)
from rackfit.api.docs.schemas import bounds, kind, schemas
from rackfit.api.operation import JSON

Document = Mapping[str, Any]
STYLE = Html(files(__package__).joinpath("style.css").read_text())
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but this page's own style sheet, which is inside it."""


def page(document: Document) -> str:
    """Render a contract as an HTML page that needs no script and loads nothing."""
    title = f"{document['info']['title']} {document['info']['version']}"
    head = (
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", escaped(title)),
        element("style", STYLE),
    )
    main = element(
        "main",
        _introduction(title, document),
        _operations(document),
        _shared(document),
        _schemas(document),
    )
    body = element("body", _contents(document), main)
    return f"<!doctype html>\n{element('html', element('head', *head), body, lang='en')}\n"


def _by_tag(document: Document) -> Iterator[tuple[Document, list[tuple[str, str, Document]]]]:
    """Yield each tag with path, method and description of its operations."""
    listed = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in document["tags"]:
        yield tag, [entry for entry in listed if tag["name"] in entry[2]["tags"]]


def _contents(document: Document) -> Html:
    parts: list[Html] = []
    for tag, entries in _by_tag(document):
        links = (
            element("li", link(op["operationId"], code(f"{method.upper()} {path}")))
            for path, method, op in entries
        )
        parts += (element("h2", link(tag["name"], escaped(tag["name"]))), element("ul", *links))
    names = (
        element("li", link(f"schema-{n}", escaped(n))) for n in document["components"]["schemas"]
    )
    schemas_list = element("details", element("summary", escaped("schemas")), element("ul", *names))
    return element("nav", *parts, schemas_list)


def _introduction(title: str, document: Document) -> Html:
    paste = (
        "The lines below are to be pasted into a shell that knows where the service is. The "
        "same document for programs is at `/openapi.json`."
    )
    return joined(
        (
            element("h1", escaped(title)),
            paragraphs(document["info"]["description"]),
            element("p", prose(paste)),
            command(f"export {BASE[1:]}=http://127.0.0.1:8080"),
        )
    )


def _operations(document: Document) -> Html:
    return joined(
        element(
            "section",
            element("h2", escaped(tag["name"])),
            element("p", prose(tag["description"])),
            *(_operation(document, *entry) for entry in entries),
            id=tag["name"],
        )
        for tag, entries in _by_tag(document)
    )


def _operation(document: Document, path: str, method: str, operation: Document) -> Html:
    return element(
        "article",
        element("h3", code(f"{method.upper()} {path}"), escaped(f" {operation['summary']}")),
        element("p", prose(operation["description"])),
        _parameters(operation),
        _body(operation),
        examples(path, method, operation),
        _links(operation),
        _responses(document, operation),
        id=operation["operationId"],
    )


def _parameters(operation: Document) -> Html:
    own = [parameter for parameter in operation["parameters"] if "name" in parameter]
    if not own:
        return Html("")
    rows = (
        (
            code(parameter["name"]),
            kind(parameter["schema"]),
            bounds(parameter["schema"]),
            prose(parameter["description"]),
        )
        for parameter in own
    )
    return table(("Parameter", "Type", "Bounds and default", "What it is"), rows)


def _body(operation: Document) -> Html:
    if "requestBody" not in operation:
        return Html("")
    takes = (
        joined((kind(content["schema"]), escaped(" as "), code(media_type)))
        for media_type, content in operation["requestBody"]["content"].items()
    )
    return element("p", escaped("Takes "), joined(takes, ", or "), escaped("."))


def _links(operation: Document) -> Html:
    links = operation["responses"]["200"].get("links", {}).values()
    onwards = (link(onward["operationId"], prose(onward["description"])) for onward in links)
    return element("p", escaped("From here: "), joined(onwards, " ")) if links else Html("")


def _responses(document: Document, operation: Document) -> Html:
    rows = (
        (code(status), _response(document, response))
        for status, response in operation["responses"].items()
    )
    statuses = element("summary", escaped("Answers by status"))
    return element("details", statuses, table(("Status", "Answer"), rows))


def _response(document: Document, response: Document) -> Html:
    if "$ref" in response:
        name = response["$ref"].rpartition("/")[2]
        return link(
            f"response-{name}", prose(document["components"]["responses"][name]["description"])
        )
    return _described(response, with_examples=JSON not in response.get("content", {}))


def _described(response: Document, *, with_examples: bool) -> Html:
    """Say what an answer is; those of a problem are shown too."""
    said = [prose(response["description"])]
    kinds = {
        kind(c["schema"]): None
        for c in response.get("content", {}).values()
        if "$ref" in c["schema"]
    }
    said += (joined((escaped(": "), one)) for one in kinds)
    shown = texts(response).values() if with_examples else ()
    return joined((*said, *(block(text) for _, text in shown)))


def _shared(document: Document) -> Html:
    """Show the answers that operations have in common."""
    shared = document["components"]["responses"].items()
    sections = (
        element(
            "section",
            element("h3", escaped(response["description"])),
            _described(response, with_examples=True),
            id=f"response-{name}",
        )
        for name, response in shared
    )
    return element("section", element("h2", escaped("shared answers")), *sections, id="responses")


def _schemas(document: Document) -> Html:
    inside = schemas(document["components"]["schemas"])
    return element("section", element("h2", escaped("schemas")), inside, id="schemas")
