"""The in-process tier against a plain model of it."""

from collections import OrderedDict

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from counting import Counted
from rackfit.caching.answer import CachedAnswer
from rackfit.caching.memory_store import ENTRY_OVERHEAD_BYTES, MemoryLimits, MemoryStore

LIMITS = MemoryLimits(max_bytes=6 * ENTRY_OVERHEAD_BYTES, max_entries=4)
KEYS = st.integers(0, 7).map(lambda n: bytes((n,)))


def answer_of(body_bytes: int) -> CachedAnswer:
    """Return an answer with a body of that many bytes."""
    return CachedAnswer.of(b"x" * body_bytes, "application/json")


def cost_bytes(answer: CachedAnswer) -> int:
    """Return what an answer counts for against the limit."""
    return len(answer.body) + ENTRY_OVERHEAD_BYTES


class LeastRecentlyUsed(RuleBasedStateMachine):
    """Any sequence of puts and gets leaves the store as an ordered list says."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(LIMITS)
        self.model: OrderedDict[bytes, CachedAnswer] = OrderedDict()

    @rule(key=KEYS, body_bytes=st.integers(0, 7 * ENTRY_OVERHEAD_BYTES))
    def put(self, key: bytes, body_bytes: int) -> None:
        """Put an answer; those longest unused make room for it, one too large takes none."""
        answer = answer_of(body_bytes)
        self.store.put(key, answer)
        self.model.pop(key, None)
        if cost_bytes(answer) <= LIMITS.max_bytes:
            self.model[key] = answer
        while (
            sum(map(cost_bytes, self.model.values())) > LIMITS.max_bytes
            or len(self.model) > LIMITS.max_entries
        ):
            self.model.popitem(last=False)

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        """Get what was put last under the key, while it is held."""
        expected = self.model.get(key)
        if expected is not None:
            self.model.move_to_end(key)

        assert expected == self.store.get(key)

    @precondition(lambda self: self.model)
    @rule()
    def get_the_oldest(self) -> None:
        """Using the next one to go makes it the last one to go."""
        oldest = next(iter(self.model))
        self.get(oldest)

    @invariant()
    def stays_in_bounds(self) -> None:
        """Entries and bytes are counted exactly and never above their limits."""
        assert len(self.model) == len(self.store) <= LIMITS.max_entries
        held_bytes = sum(map(cost_bytes, self.model.values()))
        assert held_bytes == self.store.held_bytes <= LIMITS.max_bytes


TestLeastRecentlyUsed = LeastRecentlyUsed.TestCase
TestLeastRecentlyUsed.settings = settings(max_examples=50, stateful_step_count=30)


def test_metrics_tell_what_is_held_and_dropped(counted: Counted) -> None:
    """Look-ups, writes and evictions are counted as they happen."""
    store = MemoryStore(MemoryLimits(max_bytes=10_000, max_entries=1))
    store.put(b"a", answer_of(1))
    store.put(b"b", answer_of(1))
    store.put(b"c", answer_of(10_000))
    store.get(b"a")
    store.get(b"b")

    assert 1 == counted("rackfit_cache_evictions_total")
    assert 2 == counted("rackfit_cache_writes_total", tier="memory", outcome="stored")
    assert 1 == counted("rackfit_cache_writes_total", tier="memory", outcome="oversized")
    assert 1 == counted("rackfit_cache_lookups_total", tier="memory", outcome="miss")
    assert 1 == counted("rackfit_cache_lookups_total", tier="memory", outcome="hit")


def test_gauges_follow_the_store(counted: Counted) -> None:
    """The gauges show the entries and bytes held after the latest write."""
    MemoryStore(LIMITS).put(b"z", answer_of(9 * ENTRY_OVERHEAD_BYTES))
    store = MemoryStore(LIMITS)
    entries, held_bytes = counted("rackfit_cache_entries"), counted("rackfit_cache_bytes")
    store.put(b"a", answer_of(7))

    assert 1 == counted("rackfit_cache_entries") - entries
    assert 7 + ENTRY_OVERHEAD_BYTES == counted("rackfit_cache_bytes") - held_bytes


def test_an_answer_too_large_replaces_the_one_before_it() -> None:
    """What a new answer could not replace in the store is gone, not served in its stead."""
    store = MemoryStore(LIMITS)
    store.put(b"a", answer_of(1))
    store.put(b"a", answer_of(LIMITS.max_bytes))

    assert store.get(b"a") is None
