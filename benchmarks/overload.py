"""Kept answers beside computations that are never done, and computations offered tenfold.

Both are open loops: requests come when they are due, as callers' do, whatever has become of those
before. Kept answers are asked for at three tenths of the rate at which they can be had; what is
computed beside them, plans on 10,000 nodes and expert placements, takes half a core.

The client shares the processors with the server, and ten times the requests cost it ten times as
much. What the server itself spends on a computation, refusals and all, tells the two apart.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Executor
from itertools import count

from benchmarks import questions
from benchmarks.client import Load, Served, client_process, send
from benchmarks.edge import CONNECTIONS
from benchmarks.measured import Figures, Measured
from benchmarks.pace import Pace
from benchmarks.server import Server, serving

MANY_CONNECTIONS = 128
SHARE_OF_PEAK = 0.3
CORES_COMPUTING = 0.5
OFFERED = 10
LONGER = 5
"""Turns of an open loop last as many times as long as others: a percentile needs requests."""
MOST_REQUESTS = 1_000_000

UNITS = {"plan-mixed": "plan-open"}
OFFERS: Mapping[str, tuple[str, questions.Asking]] = {
    "plan-offered": ("plan-peak", questions.plan_anew),
    "large-offered": ("large-peak", questions.large_plan_anew),
    "place-offered": ("place-peak", questions.placement_anew),
}
"""What is offered tenfold, and its peak: plans on four nodes and on 10,000, expert placements."""

NAMES = (*UNITS, *UNITS.values(), *OFFERS, *(unit for unit, _ in OFFERS.values()))


def measure_overload(names: Collection[str], pace: Pace) -> list[Measured]:
    """Take the named measures beside their units."""
    found = []
    units = UNITS | {name: unit for name, (unit, _) in OFFERS.items()}
    with contextlib.ExitStack() as opened:
        wanted = [name for name, unit in units.items() if {name, unit} & set(names)]
        if wanted:
            bench = opened.enter_context(_bench(pace))
        for name in wanted:
            rounds = [bench.taken(name) for _ in range(pace.rounds)]
            alone, beside = zip(*rounds, strict=True)
            found += [
                Measured(name=units[name], rounds=alone),
                Measured(name=name, units=(units[name],), rounds=beside),
            ]
    return found


@contextlib.contextmanager
def _bench(pace: Pace) -> Iterator["_Bench"]:
    with contextlib.ExitStack() as running:
        server = running.enter_context(serving(RACKFIT_WORKERS="1"))
        clients = [running.enter_context(client_process()) for _ in range(2)]
        yield _Bench(server, clients[0], clients[1], pace.seconds)


class _Bench:
    """A server and two clients: one for what is measured, one for what is computed beside it."""

    def __init__(self, server: Server, client: Executor, other: Executor, seconds: float) -> None:
        self._server = server
        self._client = client
        self._other = other
        self._seconds = seconds
        self._firsts = count(step=MOST_REQUESTS)

    def taken(self, name: str) -> tuple[Figures, Figures]:
        """Return a round of a measure, its unit first."""
        return self.offered(OFFERS[name][1]) if name in OFFERS else self.mixed()

    def mixed(self) -> tuple[Figures, Figures]:
        """Return the times of kept answers alone, and beside computations."""
        peak = self._closed(questions.plan_again, CONNECTIONS).requests_per_second
        hits = self._load(
            questions.plan_again, rate=SHARE_OF_PEAK * peak, seconds=LONGER * self._seconds
        )
        before = self._server.cpu_seconds()
        computed = self._closed(questions.heavy_anew, 1).requests
        rate = CORES_COMPUTING * computed / (self._server.cpu_seconds() - before)
        alone = self._client.submit(send, hits).result()
        computing = self._other.submit(
            send,
            self._load(
                questions.heavy_anew,
                rate=rate,
                seconds=(LONGER + 1) * self._seconds,
                connections=2,
            ),
        )
        beside = self._client.submit(send, hits).result()
        computing.result()
        return _times(alone), _times(beside)

    def offered(self, request: questions.Asking) -> tuple[Figures, Figures]:
        """Return what is computed a second: as it can be had, and where ten times are wanted."""
        peak = self._spending(self._load(request, seconds=2 * self._seconds))
        flood = self._load(
            request,
            rate=OFFERED * peak["requests_per_second"],
            seconds=LONGER * self._seconds,
            connections=MANY_CONNECTIONS,
            may_refuse=True,
        )
        return peak, self._spending(flood)

    def _spending(self, load: Load) -> Figures:
        """Return what is computed a second, and what the server spends on each of them in all."""
        before = self._server.cpu_seconds()
        served = self._client.submit(send, load).result()
        spent = self._server.cpu_seconds() - before
        rate = served.requests_per_second
        return {"requests_per_second": rate, "cpu_seconds": spent / served.requests}

    def _closed(self, request: questions.Asking, connections: int) -> Served:
        load = self._load(request, seconds=2 * self._seconds, connections=connections)
        return self._client.submit(send, load).result()

    def _load(
        self,
        request: questions.Asking,
        *,
        seconds: float,
        rate: float = 0.0,
        connections: int = CONNECTIONS,
        may_refuse: bool = False,
    ) -> Load:
        return Load(
            port=self._server.port,
            request=request,
            first=next(self._firsts),
            connections=connections,
            seconds=seconds,
            most=MOST_REQUESTS,
            rate=rate,
            may_refuse=may_refuse,
        )


def _times(served: Served) -> Figures:
    return {"p50": served.p50_seconds, "p99": served.p99_seconds}
