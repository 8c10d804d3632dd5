"""The second cache tier: answers shared by all replicas through Redis.

Redis is never needed for an answer. Whatever goes wrong (no connection, no reply in time, a wrong
password, no memory left, a read-only replica, a value that is not ours) is counted and becomes a
miss. A circuit breaker bounds what a sick server costs: one time budget, then nothing; while the
circuit is open, probes run beside the requests and never in one.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar, cast

import msgspec
import structlog
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rackfit import metrics
from rackfit.caching.answer import FORMAT_VERSION, CachedAnswer, pack, packed_bytes, unpack
from rackfit.caching.circuit import Circuit, CircuitLimits

T = TypeVar("T")

_log = structlog.get_logger(__name__)

PREFIX = f"rackfit:{FORMAT_VERSION}:"
_PROBE = PREFIX + "probe"


class RedisLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much time, room and how many connections Redis may take.

    A command has `operation_timeout_seconds`, and `connect_timeout_seconds` more where it has to
    connect first. Two mebibytes are framed and verified in about two milliseconds of the event
    loop.
    """

    connect_timeout_seconds: float = 0.1
    operation_timeout_seconds: float = 0.05
    ttl_seconds: int = 86_400
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


class _NotAskedError(Exception):
    """The command was not sent: the circuit is not closed, or no connection came free in time."""


class _FailedError(Exception):
    """The command was sent, or tried to be, and gave no usable reply."""


def connect(url: str, limits: RedisLimits) -> Redis:
    """Make a client for a redis://, rediss:// or unix:// URL; nothing is sent yet.

    RESP2 without client information makes the first command on a connection the first thing
    sent on it (but for AUTH and SELECT where the URL asks for them).

    Raises:
        ValueError: The URL is not one of the three.
    """
    try:
        return Redis.from_url(
            url,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), retries=0),
            socket_connect_timeout=limits.connect_timeout_seconds,
            socket_timeout=limits.operation_timeout_seconds,
        )
    except ValueError:
        # The parser's own message can quote a piece of the password.
        msg = (
            "the Redis URL must start with redis://, rediss:// or unix://, "
            "and special characters in its password must be percent-encoded"
        )
        raise ValueError(msg) from None


class RedisStore:
    """Answers by key in Redis, for one event loop."""

    def __init__(self, url: str, limits: RedisLimits, circuit_limits: CircuitLimits) -> None:
        self.limits = limits
        self._client = connect(url, limits)
        self._circuit = Circuit(circuit_limits)
        self._slots = asyncio.Semaphore(limits.max_connections)
        self._background: set[asyncio.Task[None]] = set()
        self._last_error: tuple[str, float] | None = None

    @property
    def state(self) -> RedisState:
        """What readiness tells about Redis now."""
        circuit = self._circuit.state.name.lower()
        if self._last_error is None:
            return RedisState(circuit, len(self._background), None, None)
        kind, at = self._last_error
        return RedisState(circuit, len(self._background), kind, time.monotonic() - at)

    async def get(self, key: bytes) -> CachedAnswer | None:
        """Return the verified answer under `key`; None for a miss and for every failure."""
        answer, outcome = await self._look_up(key)
        metrics.CACHE_LOOKUPS.labels("redis", outcome).inc()
        return answer

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Store `answer` under `key` behind the caller's back; a full backlog drops it."""
        if packed_bytes(answer) > self.limits.max_value_bytes:
            metrics.CACHE_WRITES.labels("redis", "oversized").inc()
        elif len(self._background) >= self.limits.max_pending_writes:
            metrics.CACHE_WRITES.labels("redis", "dropped").inc()
        else:
            self._spawn(self._write(key, answer))

    async def ping(self) -> bool:
        """Tell whether Redis can be read now; False at once while the circuit is open."""
        try:
            await self._run("ping", lambda: self._read(_PROBE))
        except (_NotAskedError, _FailedError):
            return False
        return True

    async def aclose(self) -> None:
        """Let pending writes end, each within its time budget, and close the connections."""
        await asyncio.gather(*self._background)
        try:
            await self._client.aclose()
        except exceptions.RedisError as error:
            self._note("close", error)

    async def _look_up(self, key: bytes) -> tuple[CachedAnswer | None, str]:
        try:
            frame = await self._run("get", lambda: self._read(_name(key)))
        except _NotAskedError:
            return None, "skipped"
        except _FailedError:
            return None, "error"
        if not frame:
            return None, "miss"
        answer = unpack(frame, key=key)
        return (None, "invalid") if answer is None else (answer, "hit")

    async def _write(self, key: bytes, answer: CachedAnswer) -> None:
        def command() -> Awaitable[object]:
            return self._client.set(_name(key), pack(answer, key=key), ex=self.limits.ttl_seconds)

        try:
            await self._run("set", command)
        except _NotAskedError:
            outcome = "skipped"
        except _FailedError:
            outcome = "error"
        else:
            outcome = "stored"
        metrics.CACHE_WRITES.labels("redis", outcome).inc()

    def _read(self, name: str) -> Awaitable[bytes]:
        # GETRANGE, not GET: a value of any size under our key costs no more than one of ours.
        # One byte over the limit is read, so that a longer value cannot pass for a whole one.
        frame = self._client.getrange(name, 0, self.limits.max_value_bytes)
        return cast("Awaitable[bytes]", frame)  # the client decodes nothing

    async def _run(self, operation: str, command: Callable[[], Awaitable[T]]) -> T:
        """Run one command when the circuit and the number of connections allow it."""
        ticket = self._circuit.admit()
        if ticket is None:
            self._probe_when_due()
            raise _NotAskedError
        try:
            async with asyncio.timeout(self.limits.operation_timeout_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise _NotAskedError from None
        try:
            if not self._circuit.holds(ticket):
                raise _NotAskedError
            return await self._attempt(operation, command, ticket)
        finally:
            self._slots.release()

    async def _attempt(self, operation: str, command: Callable[[], Awaitable[T]], ticket: int) -> T:
        """Run one command within its time budget; measure it and tell the circuit."""
        limits = self.limits
        budget_seconds = limits.connect_timeout_seconds + limits.operation_timeout_seconds
        started = time.monotonic()
        try:
            async with asyncio.timeout(budget_seconds):
                reply = await command()
        except Exception as error:  # whatever Redis or its client do, the answer goes on
            kind = self._note(operation, error)
            # A refused write (no memory, read-only) says nothing about reading.
            if not (operation == "set" and isinstance(error, exceptions.ResponseError)):
                self._circuit.failed(ticket, time.monotonic() - started, kind)
            raise _FailedError from error
        finally:
            metrics.REDIS_SECONDS.labels(operation).observe(time.monotonic() - started)
        self._circuit.succeeded(ticket)
        return reply

    def _probe_when_due(self) -> None:
        ticket = self._circuit.probe()
        if ticket is not None:
            self._spawn(self._probe(ticket))

    async def _probe(self, ticket: int) -> None:
        with contextlib.suppress(_FailedError):
            await self._attempt("probe", lambda: self._read(_PROBE), ticket)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        # The loop holds tasks weakly; this set keeps them until they are done.
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _note(self, operation: str, error: Exception) -> str:
        """Count a failure and remember it for readiness; return its kind."""
        kind = _kind(error)
        self._last_error = kind, time.monotonic()
        metrics.REDIS_ERRORS.labels(operation, kind).inc()
        if kind == "unexpected":
            _log.error("redis_unexpected_error", operation=operation, exc_info=error)
        return kind


def _name(key: bytes) -> str:
    return PREFIX + key.hex()


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
