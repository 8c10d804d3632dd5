"""Requests that come again in the very same bytes, and what answers them.

What the parser made of some bytes it makes of them again, wherever a request may begin. Callers
that ask the same again and again (a scheduler's admission path) are so answered without parsing.
"""

from collections import OrderedDict

from rackfit.wire import Again

MAX_REQUEST_BYTES = 16 << 10
"""Longer requests are not remembered."""
MAX_BYTES = 16 << 20
"""What is remembered in all; the least recently used is forgotten first."""
ENTRY_BYTES = 4096
"""What an entry costs beside its bytes: tracemalloc shows 1.7 KB for one of six headers, and heads
hold more.
"""
MAX_SEEN = 4096
"""Requests seen once that are told from new ones."""


class Repeats:
    """What answers whole requests, by their bytes.

    A request is remembered the second time it comes: one that carries an id of its own never
    does, and costs nothing but a look.
    """

    def __init__(self) -> None:
        self._answering: OrderedDict[bytes, Again] = OrderedDict()
        self._held_bytes = 0
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._answering)

    def find(self, request: bytes) -> Again | None:
        """Return what answers a request."""
        if len(request) > MAX_REQUEST_BYTES:
            return None  # to look it up would take hashing all of it
        again = self._answering.get(request)
        if again is not None:
            self._answering.move_to_end(request)
        return again

    def is_new(self, request: bytes) -> bool:
        """Tell whether a request is not worth remembering yet; from now on it is."""
        seen = hash(request)
        if seen in self._seen:
            return False
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(seen)
        return True

    def keep(self, request: bytes, again: Again) -> None:
        """Remember what answers a request."""
        if request not in self._answering:
            self._held_bytes += len(request) + ENTRY_BYTES
        self._answering[request] = again
        while self._held_bytes > MAX_BYTES:
            forgotten, _ = self._answering.popitem(last=False)
            self._held_bytes -= len(forgotten) + ENTRY_BYTES
