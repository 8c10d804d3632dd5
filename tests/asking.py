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


def long_question(number: int = 0) -> bytes:
    """Spell one of many requests that each take longer than a request may, and can be cut short.

    A million requests at once on every part of the catalog; `number` makes another question.
    """
    workload = {"context_tokens": 32_768, "sequences": 1_000_000 + number}
    asked = {"model": {"id": MODEL}, "engine": {"name": "vllm"}, "workload": workload}
    return post(LONG, asked | {"max_accelerators": 4096})


def _node(number: int) -> dict[str, Any]:
    free = [(20 << 30) + (number * 8 + device) * 7919 % 4001 * (1 << 22) for device in range(8)]
    accelerator = ACCELERATORS[number % len(ACCELERATORS)]
    return {"name": f"n{number}", "accelerator": accelerator, "count": 8, "free_bytes": free}


LONG = "/v1/recommendations"
ACCELERATORS = ("h100", "h200", "a100", "b200", "mi300x", "l40s", "mi355x")
NODES = [_node(number) for number in range(3000)]
"""No two of them are alike."""
