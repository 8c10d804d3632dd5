"""The service behind its server, request by request, beside routes that do nothing.

In each round every measure has two turns: with one connection, for the time a caller waits, and
with many, for the rate and for the processor time a request costs the server. The latter hardly
depends on what else the machine is doing.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor
from itertools import count

import msgspec
from tests.servers import shared_redis_url

from benchmarks import questions
from benchmarks.client import Load, Served, client_process, send
from benchmarks.measured import Figures, Measured
from benchmarks.pace import Pace
from benchmarks.server import Server, serving

CONNECTIONS = 16
"""To each serving process: with fewer it is woken oftener, which is no work of two processes."""

PACED = 4000.0
"""Requests a second to each serving process where they are paced: a tenth of what it can take."""

MOST_REQUESTS = 50_000
"""Requests in one turn at most; also how far apart the numbers of two turns' requests are."""

SATURATION_SECONDS = 30.0
_POLL_SECONDS = 0.01

UNIT = "litestar-no-op"
Kind = tuple[bool, int]
"""A server's: whether it answers from Redis, and how many serving processes it has."""
MISS = b"fwd=miss; stored"


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to time, and the measure they are compared with.

    Attributes:
        request: makes a request's bytes from its number.
        cache_status: what the Cache-Status of every answer has to contain.
        redis: on the server that answers from Redis, having no room in its own process.
        processes: how many serving processes its server has.
        saturated: while more plans are being asked for than can be computed.
        rate: requests a second to each serving process, sent when they are due; 0: as many as
            it can take. At a rate that leaves the machine idle a request's processor time does
            not tell how much they are in each other's way.
    """

    name: str
    request: Callable[[int], bytes]
    unit: str = UNIT
    cache_status: bytes = b""
    redis: bool = False
    processes: int = 1
    saturated: bool = False
    rate: float = 0.0

    @property
    def kind(self) -> Kind:
        """Which server it is sent to."""
        return self.redis, self.processes

    @property
    def settings(self) -> dict[str, str]:
        """What its server runs with, but for where Redis is."""
        room = {"RACKFIT_CACHE_BYTES": "0"} if self.redis else {}
        return {"RACKFIT_WORKERS": str(self.processes)} | room


MEASURES = (
    Measure(name=UNIT, request=questions.litestar_no_op),
    Measure(name="raw-no-op", request=questions.raw_no_op),
    Measure(name="plan-cached", request=questions.plan_again, cache_status=b"hit; detail=memory"),
    Measure(
        name="plan-cached-two",
        request=questions.plan_again,
        unit="plan-cached",
        processes=2,  # each keeps answers of its own: a miss of the second may be among the hits
    ),
    Measure(name="plan-paced", request=questions.plan_again, rate=PACED),
    Measure(
        name="plan-paced-two",
        request=questions.plan_again,
        unit="plan-paced",
        processes=2,
        rate=PACED,
    ),
    Measure(
        name="plan-cached-busy",
        request=questions.plan_again,
        unit="plan-cached",
        cache_status=b"hit; detail=memory",
        saturated=True,
    ),
    Measure(name="plan-cold", request=questions.plan_anew, cache_status=MISS),
    Measure(name="memory-cold", request=questions.memory_anew, cache_status=MISS),
    Measure(name="no-op-redis", request=questions.litestar_no_op, redis=True),
    Measure(
        name="plan-redis",
        request=questions.plan_again,
        unit="no-op-redis",
        cache_status=b"hit; detail=redis",
        redis=True,
    ),
    Measure(name="live", request=questions.live),
    Measure(name="live-two", request=questions.live, unit="live", processes=2),
    Measure(name="live-saturated", request=questions.live, unit="live", saturated=True),
)
BY_NAME = {measure.name: measure for measure in MEASURES}


def with_units(names: Collection[str]) -> list[Measure]:
    """Return the named measures, their units, and the units of those."""
    units = {BY_NAME[name].unit for name in names if name in BY_NAME}
    units |= {BY_NAME[unit].unit for unit in units}
    return [measure for measure in MEASURES if measure.name in {*names, *units}]


def measure_edge(measures: Sequence[Measure], pace: Pace) -> list[Measured]:
    """Take these measures, one after the other, round after round."""
    with _bench(measures, pace) as bench:
        for measure in measures:
            bench.warm(measure)
        rounds = [[bench.take(measure) for measure in measures] for _ in range(pace.rounds)]
    return [
        Measured(
            name=measure.name,
            units=() if measure.name == measure.unit else (measure.unit,),
            rounds=tuple(taken[place] for taken in rounds),
        )
        for place, measure in enumerate(measures)
    ]


@contextlib.contextmanager
def _bench(measures: Sequence[Measure], pace: Pace) -> Iterator["_Bench"]:
    """Start what these measures need, and end it all again."""
    with contextlib.ExitStack() as running:
        servers: dict[Kind, Server] = {}
        for measure in measures:
            if measure.kind not in servers:
                settings = measure.settings
                if measure.redis:
                    settings["RACKFIT_REDIS_URL"] = running.enter_context(shared_redis_url())
                servers[measure.kind] = running.enter_context(serving(**settings))
        clients = [running.enter_context(client_process()) for _ in range(2)]
        yield _Bench(servers, clients[0], clients[1], pace)


class _Bench:
    """Servers by kind, a client, and another to saturate with."""

    def __init__(
        self, servers: dict[Kind, Server], client: Executor, other: Executor, pace: Pace
    ) -> None:
        self._servers = servers
        self._client = client
        self._other = other
        self._pace = pace
        self._turns = count()

    def warm(self, measure: Measure) -> None:
        """Let everything happen that only the first requests have to wait for."""
        load = self._load(measure, CONNECTIONS, self._pace.seconds / 2)
        self._client.submit(send, msgspec.structs.replace(load, cache_status=b"")).result()

    def take(self, measure: Measure) -> Figures:
        """Take one round of a measure."""
        if measure.rate:
            paced, cpu_seconds = self._turn(measure, CONNECTIONS * measure.processes)
            return {"cpu_seconds": cpu_seconds / paced.requests}
        saturating = self._saturating() if measure.saturated else contextlib.nullcontext()
        with saturating:
            alone, _ = self._turn(measure, 1)
            many, cpu_seconds = self._turn(measure, CONNECTIONS * measure.processes)
        figures = {
            "p50": alone.p50_seconds,
            "p99": alone.p99_seconds,
            "requests_per_second": many.requests_per_second,
            "cpu_seconds": cpu_seconds / many.requests,
            "client_cpu_seconds": many.client_cpu_seconds / many.requests,
        }
        if measure.saturated:
            del figures["cpu_seconds"]  # nearly all of it is the plans'
        return figures

    def _turn(self, measure: Measure, connections: int) -> tuple[Served, float]:
        """Let the client loose; return its figures and the server's processor time."""
        server = self._servers[measure.kind]
        load = self._load(measure, connections, self._pace.seconds)
        before = server.cpu_seconds()
        served = self._client.submit(send, load).result()
        return served, server.cpu_seconds() - before

    @contextlib.contextmanager
    def _saturating(self) -> Iterator[None]:
        """Keep all worker processes busy, and a queue before them, for two turns."""
        cold = BY_NAME["plan-cold"]
        load = self._load(cold, CONNECTIONS, 2.5 * self._pace.seconds)
        saturating = self._other.submit(send, load)
        _wait_until_saturated(self._servers[cold.kind])
        yield
        saturating.result()

    def _load(self, measure: Measure, connections: int, seconds: float) -> Load:
        return Load(
            port=self._servers[measure.kind].port,
            request=measure.request,
            first=next(self._turns) * MOST_REQUESTS,
            connections=connections,
            seconds=seconds,
            most=MOST_REQUESTS,
            cache_status=measure.cache_status,
            rate=measure.rate * measure.processes,
        )


def _wait_until_saturated(server: Server) -> None:
    deadline = time.monotonic() + SATURATION_SECONDS
    while time.monotonic() < deadline:
        compute = server.condition()["compute"]
        if compute["in_progress"] > compute["processes"]:
            return
        time.sleep(_POLL_SECONDS)
    msg = "the pool was never saturated"
    raise RuntimeError(msg)
