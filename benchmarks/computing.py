"""What the computations cost by themselves, in processor time and without a server.

Each is compared with the least that could be done with the same bytes: decoding the request
into untyped objects and encoding the answer. Every measure has a process of its own, so that
its peak memory is its own too.
"""

import gc
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from benchmarks import placements
from benchmarks.measured import Figures, Measured
from benchmarks.pace import Pace
from benchmarks.questions import SHAPES, Json, mixed_nodes, plan_body, reference_nodes
from rackfit.api.answers import Ready
from rackfit.api.computing import Job, canonicalise, compute
from rackfit.api.operation import JSON, Context
from rackfit.api.operations import OPERATIONS
from rackfit.api.plans import CREATE_PLAN, answer_plan
from rackfit.architecture.huggingface import read_config
from rackfit.catalog import load_catalog
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split
from rackfit.memory.answer import answer_memory
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectRequest, MemoryRequest, ModelRef, Workload
from rackfit.planning.question import PlanAnswer, PlanRequest
from rackfit.settings import Settings

DEADLINE_SECONDS = 60.0
NODES_OF_ONE_SHAPE = 64
"""As far as a search goes on any number of nodes alike, it goes on this many."""

LARGE_MODEL = "deepseek-ai/DeepSeek-V3"
"""A published config of 61 layers, of two kinds."""

MANIFOLD_MODEL = "deepseek-ai/DeepSeek-V4-Pro"
"""One of 61 layers, of five kinds."""

EIGHT_RANKS = {
    "engine": EngineChoice(name="vllm"),
    "split": Split(tensor=8),
    "accelerator": "h200",
}
"""An engine's answer: what it takes on each rank, and the reach of what is left."""

SHARE_OF_A_TURN = 0.25
"""A function is repeated for this share of the time a route is loaded for."""

Work = Callable[[], object]


def measure_computing(names: Sequence[str], pace: Pace) -> list[Measured]:
    """Take these measures, each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    measured: list[Measured] = []
    for name in names:
        with ProcessPoolExecutor(1, mp_context=spawn) as child:
            measured += child.submit(MEASURES[name], name, pace).result()
    return measured


def _plan_reference(name: str, pace: Pace) -> list[Measured]:
    return _plan(name, reference_nodes("node-a"), {}, pace)


def _plan_mixed(name: str, pace: Pace, *, count: int) -> list[Measured]:
    return _plan(name, mixed_nodes(count), {}, pace)


def _plan_by_shape(name: str, pace: Pace, *, count: int) -> list[Measured]:
    """Time a plan on nodes of many shapes, also beside a search for each of the shapes."""
    alone = [plan_body(mixed_nodes(NODES_OF_ONE_SHAPE, [shape])) for shape in SHAPES]
    requests = [msgspec.json.decode(body, type=PlanRequest) for body in alone]

    def search_each() -> None:
        for request in requests:
            answer_plan(_context(), {}, None, request)

    return _plan(name, mixed_nodes(count), {f"{name}/searches": search_each}, pace)


def _plan(name: str, nodes: list[Json], units: Mapping[str, Work], pace: Pace) -> list[Measured]:
    """Time a cold plan, from the request's body to the answer's."""
    body = plan_body(nodes)
    content = _answer(body)
    peak_bytes = _peak_resident_bytes()
    answer = msgspec.json.decode(content, type=PlanAnswer)
    if not answer.complete:
        msg = f"{name}: not done in {DEADLINE_SECONDS} s"
        raise RuntimeError(msg)

    def decode_and_encode() -> None:
        msgspec.json.decode(body)
        msgspec.json.encode(answer)

    notes = {
        "request_bytes": len(body),
        "answer_bytes": len(content),
        "splits_evaluated": answer.splits_evaluated,
        "peak_resident_bytes": peak_bytes,
    }
    works = {name: lambda: _answer(body), f"{name}/codec": decode_and_encode, **units}
    return _timed(works, pace, notes)


def _answer(body: bytes) -> bytes:
    """Answer a plan request as a worker of the service does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    request = canonicalise(CREATE_PLAN, b"", body)
    job = Job(CREATE_PLAN.id, {}, request, JSON)
    expired = lambda: time.monotonic() > deadline  # noqa: E731 (a clock that was set)
    return compute(_context(), CREATE_PLAN, job, expired).content


def _inspect(name: str, pace: Pace, *, model: str) -> list[Measured]:
    """Time the answer to what a published config's model is made of."""
    config = _config(model)
    request = InspectRequest(model=ModelRef(config=config))
    return _beside_json(name, lambda: inspect_model(request, _context().catalog), config, pace)


def _memory(
    name: str, pace: Pace, *, model: str, placed: Mapping[str, Any] = MappingProxyType({})
) -> list[Measured]:
    """Time the answer to how much memory a published config's model takes, as it is `placed`."""
    config = _config(model)
    request = MemoryRequest(
        model=ModelRef(config=config),
        workload=Workload(context_tokens=4096, sequences=16),
        **placed,
    )
    reserve = _context().settings.device_reserve

    def work() -> None:
        answer_memory(request, _context().catalog, device_reserve=reserve)

    return _beside_json(name, work, config, pace)


def _read_config(name: str, pace: Pace, *, model: str) -> list[Measured]:
    """Time the reading of a published config alone."""
    config = _config(model)
    return _beside_json(name, lambda: read_config(config), config, pace)


def _place(name: str, pace: Pace) -> list[Measured]:
    """Time a placement of experts, beside EPLB's."""
    return _timed(placements.works(name), pace, {})


def _config(model: str) -> Json:
    return _context().catalog.model(model).config or {}


def _beside_json(name: str, work: Work, config: Json, pace: Pace) -> list[Measured]:
    content = json.dumps(config)
    works = {name: work, f"{name}/json.loads": lambda: json.loads(content)}
    return _timed(works, pace, {"request_bytes": len(content)})


@cache
def _context() -> Context:
    return Context(
        settings=Settings(),
        catalog=load_catalog(),
        expired=lambda: False,
        operations=OPERATIONS,
        condition=_no_condition,
    )


def _no_condition() -> Ready:
    msg = "there is no server here"
    raise RuntimeError(msg)


def _timed(works: Mapping[str, Work], pace: Pace, notes: dict[str, int]) -> list[Measured]:
    """Time functions by turns; the first is the measure and the others are its units."""
    seconds = pace.seconds * SHARE_OF_A_TURN
    rounds = [
        {name: _cpu_seconds(work, seconds) for name, work in works.items()}
        for _ in range(pace.rounds)
    ]
    name, *units = works
    figures = {each: tuple(_figures(taken[each]) for taken in rounds) for each in works}
    measure = Measured(name=name, units=tuple(units), rounds=figures[name], notes=notes)
    return [measure, *(Measured(name=unit, rounds=figures[unit]) for unit in units)]


def _figures(cpu_seconds: float) -> Figures:
    return {"cpu_seconds": cpu_seconds}


def _cpu_seconds(work: Work, seconds: float) -> float:
    """Repeat a function for some seconds, at least once; return what one time takes."""
    gc.collect()  # what earlier turns left behind is not for this one to collect
    times, started = 0, time.process_time()
    while not times or time.process_time() - started < seconds:
        work()
        times += 1
    return (time.process_time() - started) / times


def _peak_resident_bytes() -> int:
    """Return the most memory this process has had (proc(5)).

    Not getrusage's figure, which a process inherits from the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.removesuffix("kB")) * 1024
    msg = "/proc/self/status has no VmHWM"
    raise RuntimeError(msg)


MEASURES: Mapping[str, Callable[[str, Pace], list[Measured]]] = {
    "plan-4-nodes": _plan_reference,
    "plan-1000-nodes": partial(_plan_mixed, count=1_000),
    "plan-10000-nodes": partial(_plan_by_shape, count=10_000),
    "plan-100000-nodes": partial(_plan_mixed, count=100_000),
    "read-config": partial(_read_config, model=LARGE_MODEL),
    "inspect": partial(_inspect, model=LARGE_MODEL),
    "inspect-5-kinds": partial(_inspect, model=MANIFOLD_MODEL),
    "memory": partial(_memory, model=LARGE_MODEL),
    "memory-5-kinds": partial(_memory, model=MANIFOLD_MODEL),
    "memory-8-ranks": partial(_memory, model=LARGE_MODEL, placed=EIGHT_RANKS),
    **dict.fromkeys(placements.TIMED, _place),
}
"""What can be timed, by name."""
