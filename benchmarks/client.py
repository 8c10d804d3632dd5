"""The client: keep-alive connections that send the next request when they have their answer.

Our own rather than wrk, so that figures mean the same wherever they are taken, every request
can be another one, and an answer counts only if it is the right one: 200, and from where it
should come. It runs in a process of its own and spends a fraction of what the server does.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from http import HTTPStatus
from multiprocessing import get_context

import httptools
import msgspec
import uvloop

GRACE_SECONDS = 30.0
"""What answers still under way at the end may take."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to send: for `seconds`, at most `most`, over some connections at once.

    Attributes:
        request: makes a request's bytes from its number.
        first: number of the first request.
        cache_status: what the Cache-Status of every answer has to contain.
        rate: requests a second in all, sent when they are due whatever has become of those
            before (open loop); 0: each as soon as the one before is answered.
        may_refuse: whether 503 is an answer as well; it is counted apart.
    """

    port: int
    request: Callable[[int], bytes]
    first: int
    connections: int
    seconds: float
    most: int
    cache_status: bytes = b""
    rate: float = 0.0
    may_refuse: bool = False


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a load.

    The percentiles are of the times from request to whole answer, and the processor time is
    the client's own: a client that needs most of the elapsed time measures itself.
    """

    requests: int
    refused: int
    requests_per_second: float
    client_cpu_seconds: float
    p50_seconds: float
    p99_seconds: float


def client_process() -> Executor:
    """Make a client: one process, started afresh so that it shares nothing with this one."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def send(load: Load) -> Served:
    """Send a load.

    Raises:
        RuntimeError: an answer was not the right one, or a connection was closed.
        TimeoutError: the answers took too long.
    """
    return uvloop.run(_send(load))


async def _send(load: Load) -> Served:
    loop = asyncio.get_running_loop()
    make = partial(_Connection, load, iter(range(load.first, load.first + load.most)))
    clients = []
    with contextlib.ExitStack() as opened:
        for _ in range(load.connections):
            transport, client = await loop.create_connection(make, "127.0.0.1", load.port)
            opened.callback(transport.close)
            opened.callback(client.finished.cancel)  # before it is closed, which would fail it
            client.transport = transport
            clients.append(client)
        started, spent = time.perf_counter(), time.process_time()
        for place, client in enumerate(clients):
            client.begin(until=started + load.seconds, due=started + _offset(load, place))
        async with asyncio.timeout(load.seconds + GRACE_SECONDS):
            await asyncio.gather(*(client.finished for client in clients))
        seconds, spent = time.perf_counter() - started, time.process_time() - spent
    taken = [taken for client in clients for taken in client.taken]
    return _summary(taken, sum(client.refused for client in clients), seconds, spent)


def _offset(load: Load, place: int) -> float:
    """Connections take turns where requests are due at a rate."""
    return place / load.rate if load.rate else 0.0


def _summary(taken: list[float], refused: int, seconds: float, cpu_seconds: float) -> Served:
    taken.sort()
    last = len(taken) - 1
    return Served(
        requests=len(taken),
        refused=refused,
        requests_per_second=len(taken) / seconds,
        client_cpu_seconds=cpu_seconds,
        p50_seconds=taken[last // 2],
        p99_seconds=taken[round(last * 0.99)],
    )


class _Connection(asyncio.Protocol):
    """One connection; the callbacks named `on_…` are httptools'."""

    def __init__(self, load: Load, pending: Iterator[int]) -> None:
        self._load = load
        self._pending = pending
        self._parser = httptools.HttpResponseParser(self)
        self._cache_status = b""
        self._until = self._sent = self._due = 0.0
        self._loop = asyncio.get_running_loop()
        self.refused = 0
        self.transport: asyncio.Transport
        self.taken: list[float] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, *, until: float, due: float) -> None:
        """Send the first request when it is due, and others as long as the time is not up."""
        self._until, self._due = until, due
        self._next()

    def _next(self) -> None:
        """Send the next request, now or when it is due."""
        early = self._due - time.perf_counter() if self._load.rate else 0.0
        if early > 0:
            # A timer that is late is the client's fault: the time is taken from when it is sent.
            self._loop.call_later(early, self._send, None)
        else:
            self._send(self._due if self._load.rate else None)

    def _send(self, since: float | None) -> None:
        """Send a request whose time is counted `since` then (None: from now on)."""
        number = None if time.perf_counter() >= self._until else next(self._pending, None)
        if number is None:
            if not self.finished.done():
                self.finished.set_result(None)
            return
        request = self._load.request(number)
        self._cache_status = b""
        if self._load.rate:
            self._due += self._load.connections / self._load.rate
        self._sent = time.perf_counter() if since is None else since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that is looked at."""
        if name == b"cache-status":
            self._cache_status = value

    def on_message_complete(self) -> None:
        """Take the time, see that the answer is right, and go on."""
        status = self._parser.get_status_code()
        if status == HTTPStatus.SERVICE_UNAVAILABLE and self._load.may_refuse:
            self.refused += 1
            self._next()
            return
        self.taken.append(time.perf_counter() - self._sent)
        if status == HTTPStatus.OK and self._load.cache_status in self._cache_status:
            self._next()
        else:
            self._fail(f"answered {status}, Cache-Status {self._cache_status!r}")

    def connection_lost(self, _exc: Exception | None) -> None:
        self._fail("the connection was closed")

    def _fail(self, reason: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(RuntimeError(f"{self._load.request.__name__}: {reason}"))
