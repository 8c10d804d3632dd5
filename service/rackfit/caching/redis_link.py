"""The way to Redis: one command at a time through a circuit breaker, a time budget and a bound.

Whatever goes wrong (no connection, no reply in time, a wrong password, no memory left, a
read-only replica) is counted and becomes `UnansweredError`. A sick server costs one time budget,
then nothing; while the circuit is open, probes run beside the requests and never in one.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import structlog
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from rackfit import metrics
from rackfit.caching.circuit import Circuit, CircuitLimits
from rackfit.caching.redis_servers import read_servers

T = TypeVar("T")
Client = Redis | RedisCluster

_SLICES = 10

_log = structlog.get_logger(__name__)


class RedisLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much time, room and how many connections Redis may take.

    A command has `operation_timeout_seconds`, and `connect_timeout_seconds` more where it has to
    connect first. Two mebibytes are framed and verified in about two milliseconds of the event
    loop.
    """

    connect_timeout_seconds: float
    operation_timeout_seconds: float
    ttl_seconds: int
    max_value_bytes: int = 2 * 2**20
    max_connections: int = 16
    max_pending_writes: int = 64


class RedisState(msgspec.Struct, frozen=True):
    """What readiness tells about Redis.

    `last_error` is the kind of the latest failure, never a server's own words, and
    `last_error_age_seconds` how long ago that was; both are None before the first.
    """

    circuit: str
    pending_operations: int
    last_error: str | None
    last_error_age_seconds: float | None


class UnansweredError(Exception):
    """Redis gave no usable reply; `asked` is False where the command was not even sent.

    That is so while the circuit is not closed, and where no connection came free in time.
    """

    def __init__(self, *, asked: bool) -> None:
        super().__init__()
        self.asked = asked


def connect(url: str) -> Client:
    """Make a client for a URL that was checked; nothing is sent yet.

    RESP2 without client information makes the first command on a connection the first thing
    sent on it (but for AUTH and SELECT where the URL asks for them). Sentinels are asked for each
    new connection which server is the master now.
    """
    servers = read_servers(url)
    if servers is None:
        return Redis.from_url(url, **_options())
    login: dict[str, Any] = {"username": servers.username, "password": servers.password}
    if not servers.service:
        nodes = [ClusterNode(host, port) for host, port in servers.hosts]
        return RedisCluster(startup_nodes=nodes, **login, **_options())
    sentinel = Sentinel(servers.hosts, sentinel_kwargs=_options(), **_options())  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(servers.service, db=servers.database, **login)
    return client


def _options() -> dict[str, Any]:
    """Return what every connection has; the link's own budget bounds connecting and waiting."""
    return {
        "protocol": 2,
        "driver_info": None,
        "retry": Retry(NoBackoff(), retries=0),
        "socket_connect_timeout": None,
        "socket_timeout": None,
    }


class RedisLink:
    """A client and all that bounds what it may cost, for one event loop.

    Args:
        url: A URL that was checked.
        limits: Time and connections a command may take.
        circuit_limits: When to stop asking.
        probe: Sends a command that tells whether Redis can be read.
    """

    def __init__(
        self,
        url: str,
        limits: RedisLimits,
        circuit_limits: CircuitLimits,
        probe: Callable[[], Awaitable[object]],
    ) -> None:
        self.limits = limits
        self.client = connect(url)
        self._probe_command = probe
        self._circuit = Circuit(circuit_limits)
        self._slots = asyncio.Semaphore(limits.max_connections)
        self._background: set[asyncio.Task[None]] = set()
        self._last_error: tuple[str, float] | None = None

    @property
    def pending(self) -> int:
        """How much runs behind the callers' backs."""
        return len(self._background)

    @property
    def state(self) -> RedisState:
        """What readiness tells about Redis now."""
        circuit = self._circuit.state.name.lower()
        if self._last_error is None:
            return RedisState(circuit, self.pending, None, None)
        kind, at = self._last_error
        return RedisState(circuit, self.pending, kind, time.monotonic() - at)

    async def run(self, operation: str, command: Callable[[], Awaitable[T]]) -> T:
        """Run one command when the circuit and the number of connections allow it.

        Raises:
            UnansweredError: it was not sent, or it failed.
        """
        ticket = self._circuit.admit()
        if ticket is None:
            self._probe_when_due()
            raise UnansweredError(asked=False)
        try:
            async with asyncio.timeout(self.limits.operation_timeout_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise UnansweredError(asked=False) from None
        try:
            if not self._circuit.holds(ticket):
                raise UnansweredError(asked=False)
            return await self._attempt(operation, command, ticket)
        finally:
            self._slots.release()

    def spawn(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run work behind the caller's back; closing waits for it."""
        # The loop holds tasks weakly; this set keeps them until they are done.
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def note(self, operation: str, error: Exception) -> str:
        """Count a failure and remember it for readiness; return its kind."""
        kind = _kind(error)
        self._last_error = kind, time.monotonic()
        metrics.REDIS_ERRORS.labels(operation, kind).inc()
        if kind == "unexpected":
            _log.error("redis_unexpected_error", operation=operation, exc_info=error)
        return kind

    async def aclose(self) -> None:
        """Let pending work end, each within its time budget, and close the connections."""
        # Those that are done may still be in the set: waiting for them alone gives up no turn in
        # which they would leave it.
        while pending := [task for task in self._background if not task.done()]:
            await asyncio.gather(*pending)
        try:
            await self.client.aclose()
        except exceptions.RedisError as error:
            self.note("close", error)

    async def _attempt(self, operation: str, command: Callable[[], Awaitable[T]], ticket: int) -> T:
        """Run one command within its time budget; measure it and tell the circuit."""
        started = time.monotonic()
        try:
            reply = await self._in_time(command)
        except Exception as error:  # whatever Redis or its client do, the answer goes on
            kind = self.note(operation, error)
            if operation in ("get", "probe") or not isinstance(error, exceptions.ResponseError):
                self._circuit.failed(ticket, time.monotonic() - started, kind)
            # Else a refusal (no memory, read-only, no permission): it says nothing of reading.
            raise UnansweredError(asked=True) from error
        finally:
            metrics.REDIS_SECONDS.labels(operation).observe(time.monotonic() - started)
        self._circuit.succeeded(ticket)
        return reply

    async def _in_time(self, command: Callable[[], Awaitable[T]]) -> T:
        """Wait for a reply within the time budget, not counting time the event loop was stuck."""
        async with asyncio.timeout(None) as timeout:
            patience = _Patience(self._budget_seconds, timeout)
            try:
                return await command()
            finally:
                patience.end()

    @property
    def _budget_seconds(self) -> float:
        """Time for the next command: that to connect comes on top where it has to."""
        limits = self.limits
        pool = getattr(self.client, "connection_pool", None)  # a cluster has one a server
        idle = pool and pool._available_connections  # noqa: SLF001 - told nowhere else
        return limits.operation_timeout_seconds + (0 if idle else limits.connect_timeout_seconds)

    def _probe_when_due(self) -> None:
        ticket = self._circuit.probe()
        if ticket is not None:
            self.spawn(self._probe(ticket))

    async def _probe(self, ticket: int) -> None:
        with contextlib.suppress(UnansweredError):
            await self._attempt("probe", self._probe_command, ticket)


class _Patience:
    """A time budget in slices: what the event loop was stuck for counts as one of them.

    A burst of requests holds the loop for longer than a budget, with the reply long there: that
    says nothing of Redis. This way every reply has some turns of the loop to be read in.
    """

    def __init__(self, seconds: float, timeout: asyncio.Timeout) -> None:
        self._slice_seconds = seconds / _SLICES
        self._left = _SLICES
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._slice_seconds, self._pass)

    def end(self) -> None:
        """Forget the timer."""
        self._timer.cancel()

    def _pass(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._slice_seconds, self._pass)
        else:
            self._timeout.reschedule(self._loop.time())


def _kind(error: Exception) -> str:
    """Name the kind of failure, from a closed list fit for a metric's label."""
    match error:
        case TimeoutError() | exceptions.TimeoutError():
            return "timeout"
        case exceptions.AuthenticationError() | exceptions.AuthorizationError():
            return "authentication"
        case exceptions.ConnectionError() | OSError():
            return "connection"
        case exceptions.ResponseError():
            return "refused"
        case exceptions.RedisError():
            return "protocol"
    return "unexpected"
