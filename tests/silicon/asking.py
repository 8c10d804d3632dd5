"""Requests that tables of measured kernels may cover."""

from typing import Any

import msgspec

from rackfit.planning.question import PlanRequest


def request(model: dict[str, Any], **more: object) -> PlanRequest:
    """Ask for a model on two nodes of H200 under vLLM."""
    return msgspec.convert(
        {
            "model": model,
            "engine": {"name": "vllm"},
            "workload": {
                "context_tokens": 8192,
                "sequences": 16,
                "input_tokens": 4000,
                "output_tokens": 1000,
            },
            "inventory": {"nodes": [{"name": "a", "accelerator": "H200", "count": 8}]},
            **more,
        },
        PlanRequest,
    )
