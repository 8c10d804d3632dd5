"""Room for bodies: what is under way at once is bounded, whatever each may be."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from asking import NODES, QUESTION, post
from rackfit.api.problems import RequestError
from rackfit.api.room import UNCOUNTED_BYTES, Room
from serving import Reply, Service, read_reply, service

LIMIT_BYTES = 1 << 20


def refused(room: Room, size: int) -> bool:
    """Tell whether a body of a size is refused for want of room."""
    try:
        with room.held() as held:
            held.grow(size)
    except RequestError as error:
        return 503 == error.problem.status
    return False


def test_what_is_held_is_given_back() -> None:
    """Up to the limit together, and not a byte beyond."""
    room = Room(LIMIT_BYTES)
    with room.held() as first, room.held() as second:
        first.grow(LIMIT_BYTES // 2)
        second.grow(LIMIT_BYTES // 4)
        second.grow(LIMIT_BYTES // 2)
        assert LIMIT_BYTES == room.held_bytes
        assert refused(room, UNCOUNTED_BYTES + 1)
    assert 0 == room.held_bytes
    assert not refused(room, LIMIT_BYTES)


def test_small_bodies_are_not_counted() -> None:
    """A flood of large ones does not keep them out."""
    room = Room(LIMIT_BYTES)
    with room.held() as large, room.held() as small:
        large.grow(LIMIT_BYTES)
        small.grow(UNCOUNTED_BYTES)
        assert LIMIT_BYTES == room.held_bytes


def test_room_is_held_until_the_last_lets_go() -> None:
    """A computation nobody waits for any more still has the body."""
    room = Room(LIMIT_BYTES)
    with room.held() as held:
        held.grow(LIMIT_BYTES)
        held.keep()
    assert LIMIT_BYTES == room.held_bytes
    held.let_go()
    assert 0 == room.held_bytes


@pytest.fixture(scope="module")
def narrow() -> Iterator[Service]:
    """Run the service with room for two of the bodies below."""
    limit = str(LIMIT_BYTES)
    limits = ("PLAN_BODY", "MODEL_BODY", "BODIES")
    with service(**{f"RACKFIT_{name}_LIMIT_BYTES": limit for name in limits}) as running:
        yield running


def reply_soon(connection: socket.socket) -> Reply | None:
    """Return the response on a connection, None where there is none for a while."""
    connection.settimeout(2)
    try:
        return read_reply(connection)
    except TimeoutError:
        return None


@pytest.mark.parametrize("framing", ["Content-Length: 400000", "Transfer-Encoding: chunked"])
def test_bodies_beyond_the_room_are_refused(narrow: Service, framing: str) -> None:
    """503 with Retry-After, by the declared length or when it is reached; small ones pass."""
    head = f"POST /v1/plans HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n{framing}"
    chunk = b"61a80\r\n" + b" " * 400_000 if "chunked" in framing else b""
    small = QUESTION | {"inventory": {"nodes": NODES[:1]}}
    with ExitStack() as stack:
        address = ("127.0.0.1", narrow.port)
        sockets = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
        for connection in sockets:
            connection.sendall(head.encode() + b"\r\n\r\n" + chunk)
        # Of three, whichever comes last has no room; the others wait for their body's end.
        refusal = next(reply for reply in map(reply_soon, sockets) if reply)
        assert (503, "1") == (refusal.status, refusal.headers["retry-after"])
        assert "no room for this body" in json.loads(refusal.body)["detail"]
        assert 200 == narrow.raw(post("/v1/plans", small)).status
    assert 200 == narrow.raw(post("/v1/plans", small | {"limit": 3}, padding=400_000)).status
