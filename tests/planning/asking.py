"""Plan requests as callers send them, and the answers as they receive them: plain JSON."""

from typing import Any

import msgspec

from rackfit.catalog import Catalog
from rackfit.planning.plan import plan
from rackfit.planning.question import PlanRequest

Json = dict[str, Any]
RESERVE = 0.10


def request(
    nodes: list[Json], model: str = "deepseek-v4-pro", **more: str | int | list[str] | Json
) -> Json:
    """A plan request for a catalog model on `nodes`, one sequence of 4,096 tokens by default."""
    workload = {"context_tokens": 4096, "sequences": 1}
    inventory = {"nodes": nodes}
    return {"model": {"id": model}, "workload": workload, "inventory": inventory, **more}


def nodes_of(accelerator: str, count: int, each: int = 8, prefix: str = "node") -> list[Json]:
    """`count` nodes alike, with `each` accelerators."""
    return [
        {"name": f"{prefix}-{number}", "accelerator": accelerator, "count": each}
        for number in range(count)
    ]


def merged(target: object, patch: object) -> Any:  # noqa: ANN401 (any JSON)
    """Apply a JSON Merge Patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def with_nodes(question: Json, accelerator: str, number: int, each: int) -> Json:
    """The same request with more nodes, all free."""
    nodes = [*question["inventory"]["nodes"], *nodes_of(accelerator, number, each, "more")]
    return {**question, "inventory": {"nodes": nodes}}


def fixed(question: Json, fix: Json) -> Json:
    """The request with a fix applied: its patch merged, its nodes added."""
    more = fix["nodes"]
    if more:
        question = with_nodes(question, more["accelerator"], more["number"], more["count"])
    changed: Json = merged(question, fix["patch"] or {})
    return changed


def answer(catalog: Catalog, question: Json) -> Json:
    """Plan as the service does and return what is sent."""
    decoded = msgspec.json.decode(msgspec.json.encode(question), type=PlanRequest)
    found = plan(decoded, catalog, device_reserve=RESERVE, expired=lambda: False)
    sent: Json = msgspec.json.decode(msgspec.json.encode(found))
    return sent
