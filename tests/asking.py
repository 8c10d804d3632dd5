"""Requests as they stand on the wire, and questions that take long."""

import json
from typing import Any

MODEL = "deepseek-ai/DeepSeek-V3"
QUESTION = {"model": {"id": MODEL}, "workload": {"context_tokens": 4096}}


def get(target: str, *headers: str) -> bytes:
    """Spell a GET."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: t", *headers, "", ""]).encode()


def post(target: str, body: object, *headers: str) -> bytes:
    """Spell a POST of JSON."""
    content = json.dumps(body).encode()
    lines = [f"POST {target} HTTP/1.1", "Host: t", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def long_plan(number: int = 0) -> dict[str, Any]:
    """Return one of many plan requests that each take much longer than a request may.

    Nodes of a thousand accelerators have splits by the million; `number` makes another question.
    """
    nodes = [
        {"name": f"n{n}", "accelerator": "h100", "count": 1024, "domain": f"d{n % 7}"}
        for n in range(400)
    ]
    limits = {"limit": 100, "rejection_limit": 10_000 - number}
    return QUESTION | {"inventory": {"nodes": nodes}} | limits
