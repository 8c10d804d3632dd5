"""Requests that come again in the very same bytes: answered as before, without being parsed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from litestar.types import Receive, Scope, Send
from uvicorn.server import ServerState

from rackfit.server import repeats
from rackfit.server.protocol import HttpProtocol
from rackfit.server.repeats import Repeats
from rackfit.wire import AT_ONCE, Again, Sent
from serving import Reply, parsed

pytestmark = pytest.mark.anyio


def post(path: str, body: bytes) -> bytes:
    """Spell a request with a body."""
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ASKED = post("/kept", b'{"n": 1}')
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Kept:
    """Answers at once with how it was asked; stops to once `is_over`."""

    def __init__(self) -> None:
        self.parsed = 0
        self.repeated = 0
        self.is_over = False

    def answer(self, scope: dict[str, Any], body: bytes) -> Sent | None:
        """Answer what was parsed."""
        if self.is_over or scope["path"] != "/kept":
            return None
        self.parsed += 1
        return Sent(200, b"content-length: %d\r\n" % len(body), body)

    def again(self, scope: dict[str, Any], body: bytes) -> Again | None:
        """Answer what comes again."""
        assert "/kept" == scope["path"]

        def repeat(client: tuple[str, int] | None) -> Sent | None:
            assert client is not None
            if self.is_over:
                return None
            self.repeated += 1
            return Sent(200, b"content-length: %d\r\n" % len(body), body)

        return repeat


async def application(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with 204 what is not answered at once."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture(name="kept")
def _kept() -> Kept:
    return Kept()


@pytest.fixture(name="connection")
async def _connection(kept: Kept) -> AsyncIterator[Connection]:
    config: Any = uvicorn.Config(
        application,
        http=HttpProtocol,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=1,
    )
    config.connection_limit, config.repeats = 10, Repeats()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(config=config, server_state=state, app_state={AT_ONCE: kept}),
        "127.0.0.1",
        0,
    )
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield reader, writer
        writer.transport.abort()
        while state.connections:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def asked(connection: Connection, *pieces: bytes) -> Reply:
    """Send a request in pieces, each read before the next is sent, and read its reply."""
    reader, writer = connection
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01 if len(pieces) > 1 else 0)
    async with asyncio.timeout(10):
        return await parsed(reader)


async def test_what_comes_again_is_answered_alike(connection: Connection, kept: Kept) -> None:
    """From the second time on a connection it is remembered, and then it is not parsed."""
    replies = [await asked(connection, ASKED) for _ in range(6)]
    assert 1 == len({(reply.status, reply.body) for reply in replies})
    assert b'{"n": 1}' == replies[-1].body
    assert (3, 3) == (kept.parsed, kept.repeated)


async def test_other_bytes_are_another_request(connection: Connection, kept: Kept) -> None:
    """A request that differs in any byte is parsed."""
    for _ in range(5):
        await asked(connection, ASKED)
    before = kept.parsed
    for other in (post("/kept", b'{"n": 2}'), ASKED.replace(b"Host: t", b"Host: u")):
        reply = await asked(connection, other)
        assert reply.body == other.rpartition(b"\r\n\r\n")[2]
    assert 2 == kept.parsed - before
    assert 204 == (await asked(connection, ASKED.replace(b"/kept", b"/else"))).status


@pytest.mark.parametrize(
    ("at", "status"), [(1, 200), (30, 200), (len(ASKED) - 8, 204), (len(ASKED) - 1, 204)]
)
async def test_pieces_are_put_together(
    connection: Connection, kept: Kept, at: int, status: int
) -> None:
    """A request in pieces is parsed; one whose body is late is for the application."""
    for _ in range(4):
        await asked(connection, ASKED)
    assert status == (await asked(connection, ASKED[:at], ASKED[at:])).status
    assert 1 == kept.repeated
    assert b'{"n": 1}' == (await asked(connection, ASKED)).body


async def test_a_remembered_request_may_be_the_body_of_another(
    connection: Connection, kept: Kept
) -> None:
    """What comes where a body is expected is no request."""
    for _ in range(4):
        await asked(connection, ASKED)
    outer = post("/kept", ASKED)
    assert 204 == (await asked(connection, outer[: -len(ASKED)], ASKED)).status
    assert 1 == kept.repeated


async def test_requests_in_one_piece_are_all_answered(connection: Connection, kept: Kept) -> None:
    """Two at once are not one request, however often they come."""
    reader, writer = connection
    for _ in range(5):
        writer.write(ASKED * 2)
        async with asyncio.timeout(10):
            bodies = [(await parsed(reader)).body for _ in range(2)]
        assert [b'{"n": 1}'] * 2 == bodies
    assert 0 == kept.repeated


async def test_what_is_no_longer_kept_goes_to_the_application(
    connection: Connection, kept: Kept
) -> None:
    """It is parsed again, and remembered again once it is kept again."""
    for _ in range(4):
        await asked(connection, ASKED)
    kept.is_over = True
    assert [204, 204] == [(await asked(connection, ASKED)).status for _ in range(2)]
    kept.is_over = False
    assert 200 == (await asked(connection, ASKED)).status


async def test_the_end_of_a_connection_is_not_remembered(
    connection: Connection, kept: Kept
) -> None:
    """A request that asks for it gets it."""
    closing = ASKED.replace(b"Host: t", b"Host: t\r\nConnection: close")
    await asked(connection, ASKED)
    assert "close" == (await asked(connection, closing)).headers["connection"]
    assert 0 == kept.repeated


async def test_a_connection_is_idle_from_its_last_answer_on(
    connection: Connection, kept: Kept
) -> None:
    """One that is asked again and again outlives the time that an idle one is kept."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 1.6:
        assert 200 == (await asked(connection, ASKED)).status
        await asyncio.sleep(0.2)
    assert 3 < kept.repeated
    async with asyncio.timeout(10):
        assert b"" == await connection[0].read(1)
    assert 0.7 < loop.time() - began - 1.6 < 5


def test_the_least_recently_used_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded in bytes."""
    monkeypatch.setattr(repeats, "MAX_BYTES", 3 * (10 + repeats.ENTRY_BYTES))
    remembered = Repeats()
    for name in (b"a", b"b", b"c"):
        remembered.keep(name * 10, lambda _client: None)
    assert remembered.find(b"a" * 10) is not None
    remembered.keep(b"d" * 10, lambda _client: None)
    assert 3 == len(remembered)
    assert remembered.find(b"b" * 10) is None
    assert remembered.find(b"a" * 10) is not None


def test_what_comes_once_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests with an id of their own only leave a trace, of which there is a bound."""
    monkeypatch.setattr(repeats, "MAX_SEEN", 2)
    remembered = Repeats()
    assert remembered.is_new(b"a")
    assert not remembered.is_new(b"a")
    assert remembered.is_new(b"b")
    assert remembered.is_new(b"c")
    assert remembered.is_new(b"a")
