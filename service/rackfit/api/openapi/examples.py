"""Examples: a request and the service's real answer to it, one file a case.

A file is named `OPERATION.CASE.json`. What is asked is written by hand; what was answered is
recorded from the service, and a test compares.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec


class Request(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What is asked: `body` is JSON, `content` lines of text as they are sent."""

    method: str | None = None
    path: dict[str, str] = {}
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    media_type: str = "application/json"
    body: Any = msgspec.UNSET
    content: list[str] | None = None


class Example(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One exchange with the service.

    `answer` is what it answers as JSON, `text` as lines of `text/plain`; a document that has a
    media type of its own is lines in `text` alone. `varies` marks an answer that is another
    each time (health, versions): of it only the shape is compared. `settings` are those of the
    service that gives this answer, where they are not the defaults.
    """

    summary: str
    request: Request
    status: int
    varies: bool = False
    settings: dict[str, Any] = {}
    answer: Any = msgspec.UNSET
    text: list[str] = []


Examples = Mapping[str, Mapping[str, Example]]
"""By operation id and case, both in alphabetical order."""


def read_examples(directory: Path) -> Examples:
    """Read every example of a directory.

    Raises:
        msgspec.ValidationError: a file is no example.
    """
    found: dict[str, dict[str, Example]] = {}
    for file in sorted(directory.glob("*.json")):
        operation, case, _ = file.name.split(".")
        found.setdefault(operation, {})[case] = msgspec.json.decode(file.read_bytes(), type=Example)
    return found


def content_examples(
    examples: Mapping[str, Example], status: int, media_type: str
) -> Mapping[str, Any]:
    """Return the answers of one status as the `examples` of a media type."""
    answered = {case: example for case, example in examples.items() if example.status == status}
    values = {case: _value(example, media_type) for case, example in answered.items()}
    return {
        case: {"summary": answered[case].summary, "value": value}
        for case, value in values.items()
        if value is not msgspec.UNSET
    }


def _value(example: Example, media_type: str) -> Any:  # noqa: ANN401 - any JSON
    if media_type.endswith("json"):
        return example.answer
    if media_type.startswith("text/") and example.text:
        return joined(example.text)
    return msgspec.UNSET


def joined(lines: Sequence[str]) -> str:
    """Join lines, each of them ended."""
    return "".join(f"{line}\n" for line in lines)


def body_examples(examples: Mapping[str, Example], media_type: str) -> Mapping[str, Any]:
    """Return the bodies that are answered, as the `examples` of a request's media type."""
    return {
        case: {"summary": example.summary, "value": _body(example.request)}
        for case, example in examples.items()
        if example.status == HTTPStatus.OK and example.request.media_type == media_type
    }


def _body(request: Request) -> Any:  # noqa: ANN401 - any JSON
    return request.body if request.content is None else joined(request.content)
