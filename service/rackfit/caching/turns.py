"""Single flight across processes: whose turn it is to compute an answer that all of them want.

The first to ask for a lease in Redis computes and renews it meanwhile; the others look for the
value until it is there, the lease has run out, or their patience has. A process that dies or
hangs stops renewing, and the next to look takes its turn. Leases only save work: where Redis
does not say whose turn it is, everybody computes, and the answers are the same.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator

from rackfit.caching.answer import CachedAnswer
from rackfit.caching.redis_store import RedisStore

LEASE_SECONDS = 2.0
"""How long the others wait for a process that has died."""

_RENEWALS = 3
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.05
_PAUSE_GROWTH = 1.5


@contextlib.asynccontextmanager
async def turn(store: RedisStore, key: bytes, seconds: float) -> AsyncIterator[CachedAnswer | None]:
    """Wait up to `seconds` for an answer that is being computed elsewhere, or for the turn.

    Yields:
        The answer, or None where the caller should compute and keep it inside the block.
    """
    lease = _Lease(store, key)
    answer = await lease.wait(seconds)
    if not lease.is_held:
        yield answer
        return
    renewing = asyncio.create_task(lease.renew())
    try:
        yield answer
    finally:
        renewing.cancel()
        lease.release()


class _Lease:
    """One process' wish to compute the answer under a key."""

    def __init__(self, store: RedisStore, key: bytes) -> None:
        self._store = store
        self._key = key
        self._holder = secrets.token_bytes(8)
        self._held_until = 0.0

    @property
    def is_held(self) -> bool:
        """Whether the lease is ours by our own clock, which started before Redis' did."""
        return time.monotonic() < self._held_until

    async def wait(self, seconds: float) -> CachedAnswer | None:
        """Wait for the answer or the lease; neither where Redis fails or time is up."""
        patience_ends = time.monotonic() + seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            asked = time.monotonic()
            claim = await self._store.claim(self._key, self._holder, LEASE_SECONDS)
            if claim is not None and claim.granted:
                self._held_until = asked + LEASE_SECONDS
            if claim is None:
                return None
            if claim.granted or claim.answer is not None:
                return claim.answer
            if time.monotonic() + pause > patience_ends:
                return None
            await asyncio.sleep(pause)
            pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)

    async def renew(self) -> None:
        """Keep the lease until cancelled, or until it is lost all the same."""
        while self.is_held:
            await asyncio.sleep(LEASE_SECONDS / _RENEWALS)
            asked = time.monotonic()
            if self.is_held and await self._store.renew(self._key, self._holder, LEASE_SECONDS):
                self._held_until = asked + LEASE_SECONDS

    def release(self) -> None:
        """Let others have their turn, once what was put under the key is written."""
        if self.is_held:
            self._store.release(self._key)
