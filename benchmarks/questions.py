"""What is asked: inventories, bodies, and requests as they go on the wire.

A function that makes requests takes the request's number. Cold ones differ with it, in content
and never in length, so that no two in a run are equal.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any, Final

import msgspec

from benchmarks.expert_loads import SUITE, loads

Json = dict[str, Any]
Asking = Callable[[int], bytes]
"""Makes a request's bytes from its number."""

Shape = tuple[str, int, int]
"""An accelerator, how many of them a node has, and how many are busy."""

GIB: Final = 1 << 30
RAW_PATH: Final = "/no-op/raw"
LITESTAR_PATH: Final = "/no-op/litestar"

ACCELERATORS: Final = (
    "NVIDIA-H100-80GB-HBM3",
    "NVIDIA-H200",
    "NVIDIA-B200",
    "AMD-Instinct-MI300X",
    "NVIDIA-L40S",
)
SHAPES: Final[Sequence[Shape]] = tuple(product(ACCELERATORS, (4, 8), (0, 2)))
"""Twenty kinds of nodes."""


def plan_body(nodes: list[Json]) -> bytes:
    """Ask to fit the public card of DeepSeek V4-Pro on `nodes`, at its full context."""
    return msgspec.json.encode(
        {
            "model": {"id": "deepseek-v4-pro"},
            "quantization": "Q4_K_M",
            "workload": {"context_tokens": 1_048_576, "sequences": 1},
            "inventory": {"nodes": nodes},
        }
    )


def reference_nodes(first_name: str) -> list[Json]:
    """Return four nodes of eight H200."""
    names = (first_name, "node-b", "node-c", "node-d")
    return [{"name": name, "accelerator": "NVIDIA-H200", "count": 8} for name in names]


def mixed_nodes(count: int, shapes: Sequence[Shape] = SHAPES) -> list[Json]:
    """Return `count` nodes of these shapes by turns."""
    return [_node(number, *shapes[number % len(shapes)]) for number in range(count)]


def _node(number: int, accelerator: str, devices: int, busy: int) -> Json:
    node: Json = {"name": f"node-{number:06}", "accelerator": accelerator, "count": devices}
    if busy:
        node["free_bytes"] = [10 * GIB] * busy + [40 * GIB] * (devices - busy)
    return node


def raw_no_op(_number: int) -> bytes:
    """Ask for the no-op beside the framework."""
    return _get(RAW_PATH)


def litestar_no_op(_number: int) -> bytes:
    """Ask for the framework's no-op."""
    return _get(LITESTAR_PATH)


def live(_number: int) -> bytes:
    """Ask whether the process answers."""
    return _get("/health/live")


def plan_again(_number: int) -> bytes:
    """Ask an admission's question over again: two kilobytes, and an answer of four."""
    return _admission()


@cache
def _admission() -> bytes:
    nodes = [{"name": f"gpu-{n:04}", "accelerator": "NVIDIA-H200", "count": 8} for n in range(28)]
    question = {
        "model": {"id": "Qwen/Qwen3-32B"},
        "workload": {"context_tokens": 32_768, "sequences": 8},
        "inventory": {"nodes": nodes},
        "constraints": {"tensor": 8},
        "limit": 1,
        "rejection_limit": 0,
    }
    return _post("/v1/plans", msgspec.json.encode(question))


def plan_anew(number: int) -> bytes:
    """Ask for the reference plan on an inventory nobody has asked about."""
    return _post("/v1/plans", plan_body(reference_nodes(f"node-{number:08}")))


def large_plan_anew(number: int) -> bytes:
    """Ask for a plan on ten thousand nodes, one of which nobody has asked about."""
    return _post("/v1/plans", large_plan_body(number))


def large_plan_body(number: int) -> bytes:
    """Spell that question's body."""
    return _large_body().replace(b"node-000000", b"new-%07d" % number, 1)


@cache
def _large_body() -> bytes:
    return plan_body(mixed_nodes(10_000))


def placement_anew(number: int) -> bytes:
    """Ask for 256 experts of 58 layers on 64 ranks, by loads that nobody has asked about."""
    return _post("/v1/expert-placements", placement_body(number))


def placement_body(number: int) -> bytes:
    """Spell that question's body."""
    return _placement_body().replace(b"[[", b"[[1.%08d," % number, 1)


@cache
def _placement_body() -> bytes:
    """Spell that question's body without the load of the first expert."""
    case = SUITE["zipf 0.5, 320 / 64"]
    measured = [list(map(int, layer)) for layer in loads(case, 0).tolist()]
    measured[0] = measured[0][1:]
    return msgspec.json.encode({"ranks": case.to.ranks, "slots": case.to.slots, "loads": measured})


def heavy_anew(number: int) -> bytes:
    """Ask for what takes a worker long, by turns: large plans and placements."""
    return (large_plan_anew, placement_anew)[number % 2](number)


def memory_anew(number: int) -> bytes:
    """Ask for the memory of a catalog model on one rank, for a number of sequences of its own."""
    return _post("/v1/memory", memory_question(number))


def memory_question(number: int) -> bytes:
    """Spell that question's body."""
    question = {
        "model": {"id": "deepseek-v4-pro"},
        "workload": {"context_tokens": 4096, "sequences": 1_000_000 + number},
    }
    return msgspec.json.encode(question)


@cache
def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def _post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
