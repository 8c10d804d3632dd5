"""The first cache tier: answers held in process, bounded by bytes and by entries.

An ordered dictionary rather than a cache library: those bound one quantity, this bounds two and
reports what it drops, in fewer lines than the adapter would take. It belongs to one event loop;
there is no lock.
"""

from collections import OrderedDict

import msgspec

from rackfit import metrics
from rackfit.caching.answer import CachedAnswer

# What an entry costs beside its body: the struct, object headers, the key, the entity tag and its
# share of the dictionary. tracemalloc shows 312 bytes on CPython 3.11; rounded up for what the
# allocator keeps.
ENTRY_OVERHEAD_BYTES = 512

_HIT = metrics.CACHE_LOOKUPS.labels("memory", "hit")
_MISS = metrics.CACHE_LOOKUPS.labels("memory", "miss")
_STORED = metrics.CACHE_WRITES.labels("memory", "stored")
_OVERSIZED = metrics.CACHE_WRITES.labels("memory", "oversized")


class MemoryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the in-process tier may hold."""

    max_bytes: int
    max_entries: int


class MemoryStore:
    """Answers by key; the least recently used goes first when a bound is reached."""

    def __init__(self, limits: MemoryLimits) -> None:
        self.limits = limits
        self._answers: OrderedDict[bytes, CachedAnswer] = OrderedDict()
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, key: bytes) -> bool:
        return key in self._answers

    @property
    def held_bytes(self) -> int:
        """Bytes held now, `ENTRY_OVERHEAD_BYTES` an entry included."""
        return self._held_bytes

    def get(self, key: bytes) -> CachedAnswer | None:
        """Return the answer under `key` and make it the most recently used."""
        answer = self._answers.get(key)
        if answer is None:
            _MISS.inc()
            return None
        self._answers.move_to_end(key)
        _HIT.inc()
        return answer

    def put(self, key: bytes, answer: CachedAnswer) -> bool:
        """Hold `answer` under `key`; tell whether it is: one too large for all of it is not."""
        self._drop(key)
        fits = _cost_bytes(answer) <= self.limits.max_bytes and self.limits.max_entries > 0
        if not fits:
            _OVERSIZED.inc()
        else:
            self._answers[key] = answer
            self._held_bytes += _cost_bytes(answer)
            _STORED.inc()
            self._evict()
        metrics.CACHE_ENTRIES.set(len(self._answers))
        metrics.CACHE_BYTES.set(self._held_bytes)
        return fits

    def _evict(self) -> None:
        while (
            self._held_bytes > self.limits.max_bytes or len(self._answers) > self.limits.max_entries
        ):
            self._drop(next(iter(self._answers)))
            metrics.CACHE_EVICTIONS.inc()

    def _drop(self, key: bytes) -> None:
        dropped = self._answers.pop(key, None)
        if dropped is not None:
            self._held_bytes -= _cost_bytes(dropped)


def _cost_bytes(answer: CachedAnswer) -> int:
    return len(answer.body) + ENTRY_OVERHEAD_BYTES
