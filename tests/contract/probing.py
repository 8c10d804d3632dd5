"""Requests spelled byte for byte, and what is said of what they are answered."""

import json
from typing import Any

from rackfit.api.operation import Operation
from serving import Reply, Service

MODEL = "deepseek-ai/DeepSeek-V3"
QUESTION = {"model": {"id": MODEL}, "workload": {"context_tokens": 4096}}
NODES = [{"name": "a", "accelerator": "h200", "count": 8}]


def request(
    method: str, target: str, *headers: str, body: bytes | None = None, typed: bool = True
) -> bytes:
    """Spell a request; a body comes with its length and, unless told otherwise, as JSON."""
    lines = [f"{method} {target} HTTP/1.1", "Host: rackfit.test", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
        if typed:
            lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def chunked(target: str, *chunks: bytes) -> bytes:
    """Spell a POST whose body comes in chunks, its length nowhere declared."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = request("POST", target, "Content-Type: application/json", "Transfer-Encoding: chunked")
    return head + framed + b"0\r\n\r\n"


def ask(running: Service, target: str, body: bytes, *headers: str) -> Reply:
    """POST a JSON body."""
    return running.raw(request("POST", target, *headers, body=body))


def spelled(value: object) -> bytes:
    """Spell a body."""
    return json.dumps(value).encode()


def padded(value: object, size: int) -> bytes:
    """Spell a body of exactly `size` bytes: JSON may end in white space."""
    return spelled(value).ljust(size)


def problem(reply: Reply, status: int) -> dict[str, Any]:
    """Return the problem document of a reply, which must be one of `status`."""
    assert status == reply.status, reply
    assert "application/problem+json" == reply.headers["content-type"]
    document: dict[str, Any] = json.loads(reply.body)
    assert status == document["status"]
    assert reply.headers["x-request-id"] == document["request_id"]
    return document


def target_of(operation: Operation) -> str:
    """Return a path of an operation."""
    return operation.path.replace(
        "{id}", MODEL if operation.path.startswith("/v1/models") else "NVIDIA-H200"
    )


# --- STACK: two POSTs with different bodies to a cached route
