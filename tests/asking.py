"""Requests as they stand on the wire, and questions that take long."""

import json
from typing import Any

MODEL = "deepseek-ai/DeepSeek-V3"
QUESTION = {"model": {"id": MODEL}, "workload": {"context_tokens": 4096}}


def get(target: str, *headers: str) -> bytes:
    """Spell a GET."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: t", *headers, "", ""]).encode()


def post(target: str, body: object, *headers: str, padding: int = 0) -> bytes:
    """Spell a POST of JSON, which may end in white space."""
    content = json.dumps(body).encode() + b" " * padding
    lines = [f"POST {target} HTTP/1.1", "Host: t", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def long_plan(number: int = 0) -> dict[str, Any]:
    """Return one of many plan requests that each take seconds, and can be cut short.

    No two nodes are alike, so that each is a search of its own; `number` makes another question.
    """
    return QUESTION | {"inventory": {"nodes": NODES}, "rejection_limit": 10_000 - number}


def _node(number: int) -> dict[str, Any]:
    free = [(20 << 30) + (number * 8 + device) * 7919 % 4001 * (1 << 22) for device in range(8)]
    accelerator = ACCELERATORS[number % len(ACCELERATORS)]
    return {"name": f"n{number}", "accelerator": accelerator, "count": 8, "free_bytes": free}


ACCELERATORS = ("h100", "h200", "a100", "b200", "mi300x", "l40s", "mi355x")
NODES = [_node(number) for number in range(3000)]
