"""Links: where to go from an answer, with what of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from rackfit.api.operation import Operation

FIRST_MODEL = "$response.body#/models/0/id"
SAME_MODEL = "$request.path.id"
QUESTION = {"context_tokens": 4096}


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """From an answer of `source` to a request for `target`."""

    source: str
    target: str
    description: str
    path: dict[str, str] = {}
    body: Any = None


LINKS = (
    Link(
        source="list_models",
        target="get_model",
        description="Show a listed model.",
        path={"id": FIRST_MODEL},
    ),
    Link(
        source="list_models",
        target="get_model_memory",
        description="Memory of a listed model by quantization and context.",
        path={"id": FIRST_MODEL},
    ),
    Link(
        source="get_model",
        target="get_model_memory",
        description="Its memory by quantization and context.",
        path={"id": SAME_MODEL},
    ),
    Link(
        source="get_model",
        target="inspect_model",
        description="Its tensors.",
        body={"model": {"id": "$response.body#/id"}},
    ),
    Link(
        source="get_model",
        target="answer_memory",
        description="Its memory on one device.",
        body={"model": {"id": "$response.body#/id"}, "workload": QUESTION},
    ),
    Link(
        source="normalize_inventory",
        target="create_plan",
        description="Fit a model on the inventory.",
        body={
            "model": {"id": "Qwen/Qwen3-8B"},
            "workload": QUESTION,
            "inventory": "$response.body",
        },
    ),
    Link(
        source="create_plan",
        target="answer_memory",
        description=(
            "The best plan's memory, rank by rank: the same figures as in the plan. Of "
            "`quantization`, `kv_cache_dtype` and `engine`, what the plan's request left out is "
            "left out here too. An infeasible answer has no plan to follow, and a plan whose "
            "nodes have `free_bytes` has budgets of its own."
        ),
        body={
            "model": "$request.body#/model",
            "quantization": "$request.body#/quantization",
            "kv_cache_dtype": "$request.body#/kv_cache_dtype",
            "engine": "$request.body#/engine",
            "workload": "$request.body#/workload",
            "split": "$response.body#/plans/0/split",
            "accelerator": "$response.body#/plans/0/accelerator",
        },
    ),
    Link(
        source="list_accelerators",
        target="get_accelerator",
        description="Show a listed accelerator.",
        path={"id": "$response.body#/accelerators/0/id"},
    ),
)


def links(operation: Operation) -> Mapping[str, Mapping[str, Any]]:
    """Return the links of an operation's answer, by the operation they lead to."""
    return {link.target: _link(link) for link in LINKS if link.source == operation.id}


def _link(link: Link) -> Mapping[str, Any]:
    spelled: dict[str, Any] = {"operationId": link.target, "description": link.description}
    if link.path:
        spelled["parameters"] = link.path
    if link.body is not None:
        spelled["requestBody"] = link.body
    return spelled
