"""`/health` and `/metrics`: what a supervisor asks a process."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from rackfit.api.answers import Live, Ready
from rackfit.api.operation import Context, Document, Operation
from rackfit.api.problems import unavailable
from rackfit.api.text import service as text

ENDING = "The service is ending; send requests elsewhere."


def get_live(_context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Live:
    """Tell that the process answers."""
    return Live()


def get_ready(context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Ready:
    """Tell the condition of the process' parts. A sick Redis does not make it unready.

    Raises:
        RequestError: 503 where the process is about to end.
    """
    condition = context.condition()
    if not condition.ready:
        raise unavailable(ENDING)
    return condition


def get_metrics(_context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Document:
    """Expose the metrics of all serving processes."""
    registry = REGISTRY
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _forget_the_dead(Path(directory))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # prometheus-client's own
    return Document(generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)


def _forget_the_dead(directory: Path) -> None:
    """Drop the gauges of processes that are gone, however they went; counters stay."""
    for file in directory.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                mark_process_dead(pid)  # type: ignore[no-untyped-call] # prometheus-client's own


GET_LIVE = Operation(
    id="get_live",
    method="GET",
    path="/health/live",
    tag="service",
    summary="Whether the process answers",
    description="Answered on the event loop, whatever is being computed.",
    run=get_live,
    answer=Live,
    text=text.live,
    scope=None,
    cacheable=False,
)
GET_READY = Operation(
    id="get_ready",
    method="GET",
    path="/health/ready",
    tag="service",
    summary="Whether to send the process requests, and the condition of its parts",
    description=(
        "Cache tiers, the Redis circuit and the pool of worker processes. A sick Redis costs "
        "shared answers and nothing else, so it leaves the process ready. 503 from the moment "
        "the process is told to end, while it still answers."
    ),
    run=get_ready,
    answer=Ready,
    text=text.ready,
    scope=None,
    cacheable=False,
)
GET_METRICS = Operation(
    id="get_metrics",
    method="GET",
    path="/metrics",
    tag="service",
    summary="Metrics in the Prometheus text format",
    description="Over all serving processes of this instance.",
    run=get_metrics,
    answer=Document,
    media_types=(CONTENT_TYPE_PLAIN_0_0_4,),
    scope=None,
    cacheable=False,
)
OPERATIONS = (GET_LIVE, GET_READY, GET_METRICS)
