"""`make soak`: the service under mixed load for minutes, and whether its memory stays flat.

Traffic goes to loopback alone, of one request after the other on each of a few connections. Every
process of the server is looked at twice a second. The first quarter of the time is for warming up;
from then on memory may grow by `ALLOWED_GROWTH`, which is more than samples differ by and less than
a leak of a kilobyte a request would make.
"""

import argparse
import http.client
import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from http import HTTPStatus

import msgspec

from benchmarks.questions import (
    large_plan_body,
    memory_question,
    placement_body,
    plan_body,
    reference_nodes,
)
from benchmarks.server import Server, serving

SECONDS = 600.0
CONNECTIONS = 4
PAUSE_SECONDS = 0.002
"""Between two requests of a connection: the load is steady and not the most there can be."""

SAMPLE_SECONDS = 0.5
WARM_UP_SHARE = 0.25
ALLOWED_GROWTH = 0.10
KEPT_BYTES = 16 << 20
"""Answers kept in process: few enough for the cache to be full after warming up."""

MIB = 1 << 20
Question = tuple[str, bytes, HTTPStatus]
"""A path, a body, and the status it is answered with."""


def questions(chance: random.Random, number: int) -> Question:
    """Make a request: kept, new, wrong or large ones, and what workers compute."""
    match chance.randrange(20):
        case 0:
            return *heavy(chance, number), HTTPStatus.OK
        case 1 | 2:
            return "/v1/memory", b'{"model": {"id": "no-such"}}', HTTPStatus.UNPROCESSABLE_ENTITY
        case 3:
            return "/v1/memory", b"x" * 200_000, HTTPStatus.BAD_REQUEST
        case 4 | 5 | 6 | 7 | 8 | 9:
            return "/v1/memory", memory_question(number), HTTPStatus.OK
        case _:
            return "/v1/memory", memory_question(number % 100), HTTPStatus.OK


def heavy(chance: random.Random, number: int) -> tuple[str, bytes]:
    """Make a path and body of what is computed by workers; a few are much longer than others."""
    match chance.randrange(10):
        case 0:
            return "/v1/plans", large_plan_body(number)
        case 1:
            return "/v1/expert-placements", placement_body(number)
        case _:
            return "/v1/plans", plan_body(reference_nodes(f"node-{number:08}"))


class Caller(threading.Thread):
    """One connection's requests until the time is over; `failed` is the first that went wrong."""

    def __init__(self, port: int, seed: int, until: float) -> None:
        super().__init__()
        self.asked = 0
        self.failed: str | None = None
        self._port = port
        self._seed = seed
        self._until = until

    def run(self) -> None:
        """Ask and check, one request after the other."""
        chance = random.Random(self._seed)  # noqa: S311 - for variety, not for secrets
        headers = {"Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as service:
            while time.monotonic() < self._until and self.failed is None:
                path, body, status = questions(chance, self._seed + CONNECTIONS * self.asked)
                service.request("POST", path, body, headers)
                reply = service.getresponse()
                reply.read()
                self.asked += 1
                if reply.status != status:
                    self.failed = f"{path}: {reply.status} instead of {status}"
                time.sleep(PAUSE_SECONDS)


class Growth(msgspec.Struct, frozen=True):
    """Resident memory of all processes after warming up: where it began and ended."""

    first_bytes: float
    last_bytes: float
    most_bytes: int

    @property
    def share(self) -> float:
        """How much it grew."""
        return self.last_bytes / self.first_bytes - 1


def growth(samples: Sequence[int]) -> Growth:
    """Compare the first and the last tenth of what was seen after warming up."""
    warm = samples[int(len(samples) * WARM_UP_SHARE) :]
    tenth = max(len(warm) // 10, 1)
    return Growth(statistics.median(warm[:tenth]), statistics.median(warm[-tenth:]), max(samples))


def soak(server: Server, seconds: float) -> tuple[Sequence[int], Sequence[Caller]]:
    """Ask for so long; return the memory seen and the callers."""
    until = time.monotonic() + seconds
    callers = [Caller(server.port, seed, until) for seed in range(CONNECTIONS)]
    for caller in callers:
        caller.start()
    samples = []
    while any(caller.is_alive() for caller in callers):
        samples.append(server.resident_bytes())
        time.sleep(SAMPLE_SECONDS)
    return samples, callers


def main() -> int:
    """Soak, tell what was seen, and return 1 where memory grew or an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    with serving(RACKFIT_CACHE_BYTES=str(KEPT_BYTES)) as server:
        samples, callers = soak(server, parser.parse_args().seconds)
    grown = growth(samples)
    failures = [caller.failed for caller in callers if caller.failed]
    sys.stdout.write(
        f"{sum(caller.asked for caller in callers):,} requests; resident "
        f"{grown.first_bytes / MIB:,.1f} MiB after warming up, {grown.last_bytes / MIB:,.1f} at "
        f"the end ({grown.share:+.1%}), {grown.most_bytes / MIB:,.1f} at most\n"
    )
    sys.stdout.writelines(f"{failure}\n" for failure in failures)
    return int(bool(failures) or grown.share > ALLOWED_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
