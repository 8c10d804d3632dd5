"""Whatever stands in a config, it is answered or refused: no crash, no negative size, no hang."""

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutating import Config, configs
from rackfit.architecture.model import Architecture
from rackfit.architecture.parameters import count_parameters
from rackfit.catalog.load import load_catalog
from rackfit.engines.split import Split
from rackfit.errors import InvalidInput
from rackfit.memory.answer import answer_memory
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectRequest, MemoryRequest, ModelRef, Workload
from rackfit.memory.resolve import resolve
from rackfit.settings import Settings
from serving import running

CATALOG = load_catalog()
MOST_KINDS = 512
"""Distinct layers; what an answer costs grows with them, and not with layers or experts."""
MOST_TENSORS = 100_000
QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))


def examine(config: Config, tensor: int) -> None:
    """Ask all there is to ask about a config; raises what the service would not answer."""
    model = ModelRef(config=config)
    resolved = resolve(model, CATALOG, quantization=None, kv_cache_dtype=None)
    architecture = resolved.model.architecture
    assert_bounded(architecture)
    assert all(size >= 0 for size in sizes(msgspec.to_builtins(count_parameters(architecture))))
    inspected = msgspec.to_builtins(inspect_model(InspectRequest(model=model), CATALOG))
    assert all(size >= 0 for size in sizes(inspected))
    workload = Workload(context_tokens=min(4096, architecture.context_tokens))
    question = MemoryRequest(model=model, workload=workload, split=Split(tensor=tensor))
    answered = msgspec.to_builtins(answer_memory(question, CATALOG, device_reserve=0.1))
    assert all(size >= 0 for size in sizes(answered))


def assert_bounded(architecture: Architecture) -> None:
    """Hold that what is counted is bounded, and each of it positive."""
    assert len(architecture.kinds) <= MOST_KINDS
    tensors = [t for kind in architecture.kinds for t in kind.tensors]
    tensors += [*architecture.outer, *architecture.draft]
    assert len(tensors) <= MOST_TENSORS
    assert all(isinstance(t.elements, int) and t.elements >= 0 for t in tensors)


def sizes(answer: Any) -> Iterator[float]:  # noqa: ANN401 - any JSON
    """Yield every number of an answer."""
    if isinstance(answer, dict | list):
        for value in answer.values() if isinstance(answer, dict) else answer:
            yield from sizes(value)
    elif isinstance(answer, int | float) and not isinstance(answer, bool):
        assert math.isfinite(answer)
        yield answer


def answered_or_refused(config: Config, tensor: int) -> None:
    """Hold that a config is answered, or refused with pointers into it."""
    pointers = refusals(config, tensor)

    assert pointers is None or pointers
    assert all(pointer.startswith("/model/config") for pointer in pointers or ())


def refusals(config: Config, tensor: int) -> list[str] | None:
    """Return the pointers a config is refused with, None where it is answered."""
    try:
        examine(config, tensor)
    except InvalidInput as refusal:
        return [violation.pointer for violation in refusal.violations]
    return None


@settings(QUIET, max_examples=150)
@given(config=configs(), tensor=st.integers(1, 8))
def test_mutated_configs_are_answered_or_refused(config: Config, tensor: int) -> None:
    """Whatever stands in a config, nothing but InvalidInput is raised, and nothing is negative."""
    answered_or_refused(config, tensor)


@pytest.mark.slow
@settings(QUIET, max_examples=20_000)
@given(config=configs(), tensor=st.integers(1, 8))
def test_mutated_configs_at_length(config: Config, tensor: int) -> None:
    """The same, twenty thousand times."""
    answered_or_refused(config, tensor)


@settings(QUIET, max_examples=1)
@given(wrong=st.lists(configs(), min_size=24, max_size=24))
def test_mutated_configs_over_http(wrong: list[Config]) -> None:
    """Sent to the service, a mutated config is a 200, a 400 where it is no JSON, or a 422."""
    bodies = [json.dumps({"model": {"config": config}}).encode() for config in wrong]

    assert {200, 400, 422} >= set(asyncio.run(asked(bodies)))


async def asked(bodies: list[bytes]) -> list[int]:
    """Return the statuses the service answers with."""
    async with running(Settings(compute_processes=1)) as client:
        client.headers["Content-Type"] = "application/json"
        replies = [await client.post("/v1/models/inspect", content=body) for body in bodies]
        return [reply.status_code for reply in replies]
