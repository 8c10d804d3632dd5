"""Examples as `curl` lines to paste, with what they print."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from rackfit.api.docs.markup import Html, block, command, element, escaped, joined, prose
from rackfit.api.operation import JSON, TEXT

Described = Mapping[str, Any]
BASE = "$RACKFIT"


def examples(path: str, method: str, operation: Described) -> Html:
    """Show every case of an operation that is answered: what to paste, what it prints."""
    content = operation["responses"]["200"]["content"]
    printed = texts(operation["responses"]["200"])
    as_json = _values(content.get(JSON, {}))
    return joined(
        _case(summary, curl(path, method, operation, case), text, as_json.get(case, ("", None))[1])
        for case, (summary, text) in printed.items()
    )


def texts(response: Described) -> Mapping[str, tuple[str, Any]]:
    """Return the examples of a response as text: summary and value by case."""
    content = response.get("content", {})
    return _values(next((content[kind] for kind in content if kind.startswith("text/")), {}))


def _values(content: Described) -> dict[str, tuple[str, Any]]:
    given = content.get("examples", {}).items()
    return {case: (example["summary"], example["value"]) for case, example in given}


def _case(summary: str, line: str, text: str, answer: object) -> Html:
    as_json = json.dumps(answer, indent=2, ensure_ascii=False)
    return element(
        "div",
        element("p", prose(summary), class_="case"),
        command(line),
        block(text),
        _folded("The same answer as JSON", block(as_json)) if answer is not None else Html(""),
        class_="example",
    )


def _folded(title: str, inside: Html) -> Html:
    return element("details", element("summary", escaped(title)), inside)


def curl(path: str, method: str, operation: Described, case: str) -> str:
    """Spell a case as a command for a POSIX shell."""
    lines = [f"curl -s {_target(path, operation, case)} -H 'Accept: {TEXT}'"]
    lines += _body_options(operation, case) if method == "post" else ()
    return " \\\n  ".join(lines)


def _target(path: str, operation: Described, case: str) -> str:
    given = {
        (parameter["in"], parameter["name"]): parameter["examples"][case]["value"]
        for parameter in operation["parameters"]
        if case in parameter.get("examples", {})
    }
    filled = path.format_map(
        {name: quote(v) for (place, name), v in given.items() if place == "path"}
    )
    query = {name: _spelled(v) for (place, name), v in given.items() if place == "query"}
    return f'"{BASE}{filled}{"?" if query else ""}{urlencode(query, safe=",")}"'


def _spelled(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _body_options(operation: Described, case: str) -> Iterator[str]:
    for media_type, content in operation["requestBody"]["content"].items():
        body = content["examples"].get(case, {}).get("value")
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            yield f"-H 'Content-Type: {media_type}'"
            yield f"--data-binary {shlex.quote(text)}"
