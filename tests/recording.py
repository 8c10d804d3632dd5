"""Examples of the contract as the service really answers them.

`python tests/recording.py DIRECTORY` records every example of a directory anew.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from rackfit.api.openapi.examples import Example, joined, read_examples
from rackfit.api.operation import JSON, TEXT, Document, Operation
from rackfit.api.operations import BY_ID
from rackfit.logs import configure_logging
from rackfit.settings import Settings
from serving import running

REQUEST_ID = "5f2b8c1e9d3a4f70"


async def exchanges(directory: Path) -> AsyncIterator[tuple[Path, Example, Example]]:
    """Yield each example's file, what it says, and what the service answers now."""
    async with running(Settings()) as client:
        for operation, cases in read_examples(directory).items():
            for case, example in cases.items():
                file = directory / f"{operation}.{case}.json"
                yield file, example, await _recorded(client, BY_ID[operation], example)


async def _recorded(client: httpx.AsyncClient, operation: Operation, example: Example) -> Example:
    """Ask for an example's answer, as JSON and as text."""
    if example.settings:
        async with running(msgspec.convert(example.settings, Settings)) as other:
            return await _answered(other, operation, example)
    return await _answered(client, operation, example)


async def _answered(client: httpx.AsyncClient, operation: Operation, example: Example) -> Example:
    response = await _ask(client, operation, example, JSON)
    if operation.answer is Document:
        lines = [line for line in response.text.splitlines() if _is_shown(line, example)]
        return msgspec.structs.replace(example, status=response.status_code, text=lines)
    answered = msgspec.structs.replace(
        example, status=response.status_code, answer=response.json(), text=[]
    )
    if "Accept" in example.request.headers:
        return answered
    as_text = await _ask(client, operation, example, TEXT)
    return msgspec.structs.replace(answered, text=as_text.text.splitlines())


def _is_shown(line: str, example: Example) -> bool:
    """Tell whether a document's line is among those an example shows, whatever its figures."""
    return line.rpartition(" ")[0] in {shown.rpartition(" ")[0] for shown in example.text}


async def _ask(
    client: httpx.AsyncClient, operation: Operation, example: Example, accept: str
) -> httpx.Response:
    request = example.request
    return await client.request(
        request.method or operation.method,
        operation.path.format_map(request.path),
        params=request.query,
        content=_content(example),
        headers={
            "Accept": accept,
            "Content-Type": request.media_type,
            "X-Request-Id": REQUEST_ID,
            **request.headers,
        },
    )


def _content(example: Example) -> bytes | None:
    if example.request.content is not None:
        return joined(example.request.content).encode()
    body: Any = example.request.body
    return None if body is msgspec.UNSET else msgspec.json.encode(body)


def shape(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Reduce JSON to what of it stays the same: names, and the types of values."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value]
        case _:
            return type(value).__name__


async def _record(directory: Path) -> None:
    async for file, before, after in exchanges(directory):
        if not (before.varies and shape(before.answer) == shape(after.answer)):
            file.write_bytes(msgspec.json.format(msgspec.json.encode(after), indent=1) + b"\n")


if __name__ == "__main__":
    configure_logging(Settings(log_level="error"))
    asyncio.run(_record(Path(sys.argv[1])))
