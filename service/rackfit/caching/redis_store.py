"""The second cache tier: answers shared by all replicas through Redis.

Redis is never needed for an answer. Whatever goes wrong on the way to it, and every value that is
not ours, becomes a miss.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import msgspec

from rackfit import metrics
from rackfit.caching.answer import FORMAT_VERSION, CachedAnswer, pack, packed_bytes, unpack
from rackfit.caching.circuit import CircuitLimits
from rackfit.caching.redis_link import RedisLimits, RedisLink, RedisState, UnansweredError

PREFIX = f"rackfit:{FORMAT_VERSION}:"
_PROBE = PREFIX + "probe"
_AT_ONCE_SECONDS = 0.001


class Claim(msgspec.Struct, frozen=True):
    """Whose turn it is: ours where the lease was `granted`; `answer` is what is there already."""

    granted: bool
    answer: CachedAnswer | None


class RedisStore:
    """Answers by key in Redis, and leases on answers to be, for one event loop."""

    def __init__(self, url: str, limits: RedisLimits, circuit_limits: CircuitLimits) -> None:
        self.limits = limits
        self._link = RedisLink(url, limits, circuit_limits, lambda: self._read(_PROBE))
        self._client = self._link.client
        self._writes: dict[bytes, asyncio.Task[None]] = {}

    @property
    def state(self) -> RedisState:
        """What readiness tells about Redis now."""
        return self._link.state

    async def get(self, key: bytes) -> CachedAnswer | None:
        """Return the verified answer under `key`; None for a miss and for every failure."""
        answer, outcome = await self._look_up(key)
        metrics.CACHE_LOOKUPS.labels("redis", outcome).inc()
        return answer

    def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Store `answer` under `key` behind the caller's back; a full backlog drops it."""
        if packed_bytes(answer) > self.limits.max_value_bytes:
            metrics.CACHE_WRITES.labels("redis", "oversized").inc()
        elif self._link.pending >= self.limits.max_pending_writes:
            metrics.CACHE_WRITES.labels("redis", "dropped").inc()
        else:
            self._writes[key] = self._link.spawn(self._write(key, answer))

    async def claim(self, key: bytes, holder: bytes, seconds: float) -> Claim | None:
        """Ask for the lease on `key`, and for the answer, in one round trip.

        Asked in this order, an answer that was stored before the lease was given back is seen.

        Returns:
            None where Redis did not tell, or takes no leases.
        """
        try:
            replies = await self._link.run("claim", lambda: self._claim(key, holder, seconds))
        except UnansweredError:
            return None
        for reply in replies:
            if isinstance(reply, Exception):
                self._link.note("claim", reply)
                return None
        granted, frame = replies
        return Claim(granted=bool(granted), answer=unpack(frame, key=key))

    async def renew(self, key: bytes, holder: bytes, seconds: float) -> bool:
        """Hold the lease on `key` for longer; False where it is gone or Redis did not tell."""
        with contextlib.suppress(UnansweredError):
            return await self._set_lease(key, holder, seconds) is not None
        return False

    def release(self, key: bytes) -> None:
        """Give the lease on `key` back behind the caller's back, once its answer is written."""
        self._link.spawn(self._release(key, self._writes.get(key)))

    async def aclose(self) -> None:
        """Let pending writes end, each within its time budget, and close the connections."""
        await self._link.aclose()

    async def _look_up(self, key: bytes) -> tuple[CachedAnswer | None, str]:
        try:
            frame = await self._link.run("get", lambda: self._read(name_of(key)))
        except UnansweredError as error:
            return None, "error" if error.asked else "skipped"
        if not frame and not await self._exists(key):
            return None, "miss"
        answer = unpack(frame, key=key)
        return (None, "invalid") if answer is None else (answer, "hit")

    async def _exists(self, key: bytes) -> bool:
        """Tell an empty value, which is none of ours, from none."""
        with contextlib.suppress(UnansweredError):
            return bool(await self._link.run("exists", lambda: self._client.exists(name_of(key))))
        return False

    async def _write(self, key: bytes, answer: CachedAnswer) -> None:
        def command() -> Awaitable[object]:
            return self._client.set(name_of(key), pack(answer, key=key), ex=self.limits.ttl_seconds)

        try:
            await self._link.run("set", command)
        except UnansweredError as error:
            outcome = "error" if error.asked else "skipped"
        else:
            outcome = "stored"
        metrics.CACHE_WRITES.labels("redis", outcome).inc()
        del self._writes[key]

    async def _claim(self, key: bytes, holder: bytes, seconds: float) -> Sequence[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.set(_lease(key), holder, nx=True, px=_milliseconds(seconds))
            pipeline.getrange(name_of(key), 0, self.limits.max_value_bytes)
            return await pipeline.execute(raise_on_error=False)

    async def _release(self, key: bytes, writing: "asyncio.Task[None] | None") -> None:
        """Let a lease run out at once.

        That takes no script to compare holders: callers give back only what is still theirs.
        """
        if writing is not None:
            await asyncio.wait((writing,))
        with contextlib.suppress(UnansweredError):
            await self._set_lease(key, b"", _AT_ONCE_SECONDS)

    async def _set_lease(self, key: bytes, holder: bytes, seconds: float) -> object:
        """Change a lease that is there; None where it is not."""

        def command() -> Awaitable[object]:
            return self._client.set(_lease(key), holder, xx=True, px=_milliseconds(seconds))

        return await self._link.run("lease", command)

    def _read(self, name: str) -> Awaitable[bytes]:
        # GETRANGE, not GET: a value of any size under our key costs no more than one of ours.
        # One byte over the limit is read, so that a longer value cannot pass for a whole one.
        frame = self._client.getrange(name, 0, self.limits.max_value_bytes)
        return cast("Awaitable[bytes]", frame)  # the client decodes nothing


def name_of(key: bytes) -> str:
    """Return the name of an answer in Redis; in braces what a cluster divides by.

    So an answer and its lease are on one server, which sees them in one order.
    """
    return f"{PREFIX}{{{key.hex()}}}"


def _lease(key: bytes) -> str:
    return name_of(key) + ":lease"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
