"""The cache as the rest of the service sees it: in process first, then Redis where there is one."""

import contextlib
from collections.abc import AsyncIterator

import msgspec

from rackfit.caching.answer import CachedAnswer
from rackfit.caching.circuit import CircuitLimits
from rackfit.caching.memory_store import MemoryLimits, MemoryStore
from rackfit.caching.redis_link import RedisLimits
from rackfit.caching.redis_store import RedisStore
from rackfit.caching.turns import turn
from rackfit.settings import Settings


class AnswerCache:
    """Two tiers of answers by key; what is found in Redis is kept in process from then on."""

    def __init__(self, memory: MemoryStore, redis: RedisStore | None = None) -> None:
        self._memory = memory
        self._redis = redis

    @property
    def is_shared(self) -> bool:
        """Whether there is a Redis to ask for what this process does not hold."""
        return self._redis is not None

    def holds(self, key: bytes) -> bool:
        """Tell whether this process holds the answer under `key`; no look-up is counted."""
        return key in self._memory

    def recall(self, key: bytes) -> CachedAnswer | None:
        """Return the answer under `key` that this process holds."""
        return self._memory.get(key)

    async def fetch(self, key: bytes) -> CachedAnswer | None:
        """Return the answer under `key` that Redis holds, and hold it here from then on."""
        return self._held(key, await self._redis.get(key) if self._redis else None)

    @contextlib.asynccontextmanager
    async def turn(self, key: bytes, seconds: float) -> AsyncIterator[CachedAnswer | None]:
        """Wait up to `seconds` for an answer that another process is computing, or for the turn.

        Yields:
            The answer, or None where the caller should compute and keep it inside the block.
        """
        if self._redis is None:
            yield None
            return
        async with turn(self._redis, key, seconds) as answer:
            yield self._held(key, answer)

    def _held(self, key: bytes, answer: CachedAnswer | None) -> CachedAnswer | None:
        if answer is not None:
            self._memory.put(key, answer)
        return answer

    def put(self, key: bytes, answer: CachedAnswer) -> bool:
        """Keep `answer` in both tiers; Redis is written to without the caller waiting for it.

        Returns:
            Whether it is certain that it was kept: what Redis does with it is not known yet.
        """
        stored = self._memory.put(key, answer)
        if self._redis is not None:
            self._redis.put(key, answer)
        return stored

    def describe(self) -> dict[str, object]:
        """Return the state of both tiers for readiness: plain values, no secrets."""
        memory = {"entries": len(self._memory), "held_bytes": self._memory.held_bytes}
        redis = None if self._redis is None else msgspec.structs.asdict(self._redis.state)
        return {"memory": memory, "redis": redis}

    async def aclose(self) -> None:
        """Let pending writes end and close the connections."""
        if self._redis is not None:
            await self._redis.aclose()


def cache_for(settings: Settings) -> AnswerCache:
    """Build the cache that `settings` ask for; nothing is connected yet."""
    limits = MemoryLimits(max_bytes=settings.cache_bytes, max_entries=settings.cache_entries)
    redis = None if settings.redis_url is None else _redis_for(settings, settings.redis_url)
    return AnswerCache(MemoryStore(limits), redis)


def _redis_for(settings: Settings, url: str) -> RedisStore:
    limits = RedisLimits(
        connect_timeout_seconds=settings.redis_connect_timeout_seconds,
        operation_timeout_seconds=settings.redis_timeout_seconds,
        ttl_seconds=settings.cache_ttl_seconds,
    )
    circuit_limits = CircuitLimits(
        max_lost_seconds=settings.redis_timeout_seconds,
        cool_down_seconds=settings.redis_cooldown_seconds,
    )
    return RedisStore(url, limits, circuit_limits)
