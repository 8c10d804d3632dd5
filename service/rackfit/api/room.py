"""Room for the bodies under way: a limit on all of them, beside each one's own.

A few of the largest at once would otherwise be more than the process may take.
"""

from typing import Self

from rackfit.api.problems import refused

UNCOUNTED_BYTES = 64 << 10
"""Bodies up to this are not counted: the number of connections bounds them well enough, and a
flood of large ones does not keep small ones out.
"""


class Room:
    """Room for the bodies under way in a serving process, from their first byte to the answer."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0

    def held(self) -> "Held":
        """Return the part one request holds, nothing so far; leaving it gives all back."""
        return Held(self)

    def take(self, size: int) -> None:
        """Take room for `size` bytes more.

        Raises:
            RequestError: 503 where there is none.
        """
        if self.held_bytes + size > self._limit_bytes:
            raise refused("bodies", "There is no room for this body beside those under way.")
        self.held_bytes += size


class Held:
    """What one request holds of the room, given back when the last who keeps it lets go."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0
        self._keepers = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def keep(self) -> None:
        """Hold it for one more, until that lets go too."""
        self._keepers += 1

    def let_go(self) -> None:
        """Hold it for one less."""
        self._keepers -= 1
        if not self._keepers:
            self._room.held_bytes -= self._bytes

    def grow(self, size: int) -> None:
        """Hold `size` bytes in all.

        Raises:
            RequestError: 503 where there is no room for that.
        """
        if size > max(self._bytes, UNCOUNTED_BYTES):
            self._room.take(size - self._bytes)
            self._bytes = size
