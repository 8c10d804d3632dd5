"""Connections and their limits, on a real socket in front of an application that says nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from litestar.types import Receive, Scope, Send
from uvicorn.server import ServerState

from asking import get, post
from rackfit.server import bounds
from rackfit.server.bounds import MAX_WAITING
from rackfit.server.heads import MAX_HEAD_BYTES, MAX_TARGET_BYTES
from rackfit.server.protocol import HttpProtocol
from rackfit.server.repeats import Repeats
from rackfit.wire import REFUSAL
from serving import Reply, parsed

pytestmark = pytest.mark.anyio

LARGE_BYTES = 32 << 20
ENDLESS_BYTES = 1 << 20
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with nothing, or with the status of a refusal; a body is read first."""
    while scope["path"] == "/read" and (await receive()).get("more_body"):
        pass
    extensions: Any = scope.get("extensions") or {}
    status = extensions[REFUSAL].status if REFUSAL in extensions else 200
    body = bytes(LARGE_BYTES) if scope["path"] == "/large" else b""
    start: Any = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-length", b"%d" % len(body))],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Server:
    """A server on a free port, and the connections a test opened to it."""

    def __init__(self, port: int, connections: set[Any]) -> None:
        self.port = port
        self.connections = connections
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self, sent: bytes = b"") -> Opened:
        """Open a connection and send something on it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(sent)
        return reader, writer

    async def until(self, *, connected: bool) -> None:
        """Wait until it has any connections, or none."""
        async with asyncio.timeout(10):
            while bool(self.connections) != connected:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(connection_limit: int = 100) -> AsyncIterator[Server]:
    """Listen on a free port; all connections are closed afterwards."""
    config: Any = uvicorn.Config(application, http=HttpProtocol, lifespan="off", log_config=None)
    config.connection_limit = connection_limit
    config.repeats = Repeats()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with listener:
        server = Server(listener.sockets[0].getsockname()[1], state.connections)
        try:
            yield server
        finally:
            for writer in server.writers:
                writer.transport.abort()
            await server.until(connected=False)


async def replied(connection: Opened) -> Reply:
    """Read a response."""
    async with asyncio.timeout(10):
        return await parsed(connection[0])


async def head_of(connection: Opened) -> bytes:
    """Read up to the end of a head."""
    async with asyncio.timeout(10):
        return await connection[0].readuntil(b"\r\n\r\n")


async def is_over(connection: Opened) -> bool:
    """Tell whether the server ends a connection."""
    async with asyncio.timeout(10):
        try:
            return b"" == await connection[0].read(1)
        except ConnectionResetError:
            return True


def chunked(*framed: bytes) -> bytes:
    """Spell a POST with a body in chunks as they are given."""
    head = b"POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(framed)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (get("/"), 200),
        (get("/" + "x" * (MAX_TARGET_BYTES - 1)), 200),
        (get("/" + "x" * MAX_TARGET_BYTES), 414),
        (get("/" + "x" * 70_000), 414),
        (b"GET /" + b"x" * 300_000, 414),
        (get("/", "X: " + "x" * (MAX_HEAD_BYTES - 20)), 200),
        (get("/", "X: " + "x" * MAX_HEAD_BYTES), 431),
        (get("/", *(f"X-{n}: {'x' * 90}" for n in range(400))), 431),
        (get("/", "Transfer-Encoding: gzip, chunked"), 501),
        (get("/", "Transfer-Encoding: chunked", "Content-Length: 1"), 400),
        (get("/", "X: a\0b"), 400),
        (get("/", "Connection: Upgrade", "Upgrade: h2c"), 200),
        (post("/", {}, "Connection: Upgrade", "Upgrade: h2c"), 200),
        (post("/read", {}, "Connection: Upgrade", "Upgrade: h2c"), 200),
        (post("/read", {}, "Connection: upgrade", "Upgrade: websocket"), 200),
        (b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"garbage\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: t\r\n\r\n", 501),
        (b"get / HTTP/1.1\r\nHost: t\r\n\r\n", 501),
        (b"GETS / HTTP/1.1\r\nHost: t\r\n\r\n", 501),
        (b"PLAY / HTTP/1.1\r\nHost: t\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: t\r\nBREW / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\nHost: t\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (chunked(b"1\r\nx\r\n0\r\n\r\n"), 200),
        (chunked(b"1\r\nxyz\r\n"), 400),
        (chunked(b"nonsense\r\n"), 400),
        (chunked(b"-1\r\nx\r\n"), 400),
    ],
    ids=lambda given: repr(given[:30]) if isinstance(given, bytes) else given,
)
async def test_what_cannot_be_read_is_for_the_application_to_refuse(
    sent: bytes, status: int
) -> None:
    """It is told the status, and the connection ends."""
    async with listening() as server:
        connection = await server.open(sent)
        assert status == (await replied(connection)).status
        assert status == 200 or await is_over(connection)


async def test_a_head_without_end_is_refused_long_before_its_end() -> None:
    """Nothing keeps twenty megabytes of a header."""
    async with listening() as server:
        connection = await server.open(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                connection[1].write(b"x" * 65_536)
                await connection[1].drain()
        assert connection[1].transport.is_closing() or await is_over(connection)


@pytest.mark.parametrize("good", [1, 2, 5])
async def test_a_bad_request_is_refused_after_the_good_ones_before_it(good: int) -> None:
    """The answers that are due are not spoilt, and what follows is never read."""
    async with listening() as server:
        connection = await server.open(get("/") * good + b"garbage\r\n\r\n" + get("/"))
        for _ in range(good):
            assert 200 == (await replied(connection)).status
        assert 400 == (await replied(connection)).status
        assert await is_over(connection)


async def test_an_unknown_method_is_told_behind_requests_of_known_ones() -> None:
    """Whatever came with it."""
    async with listening() as server:
        brew = b"BREW / HTTP/1.1\r\nHost: t\r\n\r\n"
        connection = await server.open(get("/") + post("/read", {"a": 1}) + brew + get("/"))
        for status in (200, 200, 501):
            assert status == (await replied(connection)).status
        assert await is_over(connection)


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", 400),
        (get("/", "Transfer-Encoding: gzip, chunked"), 501),
        (get("/" + "x" * MAX_TARGET_BYTES), 414),
    ],
)
@pytest.mark.parametrize("good", [0, 1, 3])
async def test_no_answer_takes_the_place_of_a_refusal(bad: bytes, status: int, good: int) -> None:
    """What comes in one piece behind a request that is refused is not answered in its stead."""
    async with listening() as server:
        connection = await server.open(get("/") * good + bad + get("/") * 2)
        for expected in [200] * good + [status]:
            assert expected == (await replied(connection)).status
        assert await is_over(connection)


async def test_requests_that_wait_for_the_one_before_them_are_bounded() -> None:
    """As many as may wait are answered, the next is refused, what follows is not even parsed."""
    async with listening() as server:
        connection = await server.open(get("/") * 10_000)
        for _ in range(1 + MAX_WAITING):
            assert 200 == (await replied(connection)).status
        assert 503 == (await replied(connection)).status
        assert await is_over(connection)


async def write_until(done: asyncio.Task[Any], writer: asyncio.StreamWriter, line: bytes) -> None:
    """Write a line again and again until a task is done, which is soon."""
    with contextlib.suppress(ConnectionError):
        for _ in range(ENDLESS_BYTES // len(line)):
            writer.write(line)
            await writer.drain()
            await asyncio.sleep(0)  # drain() alone lets nobody else go on
            if done.done():
                return


@pytest.mark.parametrize(
    "endless",
    [b"1\r\nx\r\n0\r\nX: ", b"1\r\nx\r\n0\r\n" + b"X: y\r\n" * 99, b"1;x=", b"1\r\nx\r\n1;"],
)
@pytest.mark.parametrize("path", ["/read", "/"])
async def test_what_stands_around_chunks_is_bounded(path: str, endless: bytes) -> None:
    """Trailers and extensions: no request keeps megabytes of them; one answer is sent at most."""
    async with listening() as server:
        connection = await server.open(chunked(endless).replace(b"/read", path.encode()))
        if path == "/":
            assert 200 == (await replied(connection)).status
        line = b"x" * 4096 if endless[-1:] in b" ;=" else b"X: wxyz\r\n" * 455
        if path == "/read":
            reply = asyncio.create_task(replied(connection))
            await write_until(reply, connection[1], line)
            assert 431 == (await reply).status
        over = asyncio.create_task(is_over(connection))
        await write_until(over, connection[1], line)
        assert await over


async def test_a_lie_behind_an_answer_is_not_answered_again() -> None:
    """A body that was not waited for, and turns out to be no body, ends the connection."""
    async with listening() as server:
        connection = await server.open(chunked(b"1\r\nx\r\n").replace(b"/read", b"/"))
        assert 200 == (await replied(connection)).status
        connection[1].write(b"nonsense\r\n")
        assert await is_over(connection)


async def test_a_request_of_http_1_0_is_not_asked_to_continue() -> None:
    """It would take that for the answer (RFC 9110, 10.1.1)."""
    async with listening() as server:
        head = b"POST /read HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        connection = await server.open(head)
        await asyncio.sleep(0.05)
        connection[1].write(b"{}")
        assert 200 == (await replied(connection)).status


async def test_a_bad_request_behind_one_that_ends_the_connection_is_not_answered() -> None:
    """Who asked for the end has no use for more."""
    async with listening() as server:
        last = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        connection = await server.open(last + b"garbage\r\n\r\n")
        assert 200 == (await replied(connection)).status
        assert await is_over(connection)


async def test_a_bad_request_is_refused_after_a_large_answer() -> None:
    """It waits for an answer that a client is still fetching."""
    async with listening() as server:
        connection = await server.open(get("/large") + b"garbage\r\n\r\n")
        assert LARGE_BYTES == len((await replied(connection)).body)
        assert 400 == (await replied(connection)).status
        assert await is_over(connection)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: ", b"\r\n", get("/") + b"GET"])
async def test_a_head_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Half of one is told so, and a connection with none is ended, whatever came before."""
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.2)
    async with listening() as server:
        connection = await server.open(sent)
        if sent.startswith(get("/")):
            assert 200 == (await replied(connection)).status
        if b"G" in sent:
            assert 408 == (await replied(connection)).status
        assert await is_over(connection)


async def test_a_head_that_trickles_is_not_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte does not buy more time."""
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.3)
    async with listening() as server:
        connection = await server.open(b"GET / HTTP/1.1\r\nX: ")
        reply = asyncio.create_task(replied(connection))
        while not reply.done():
            connection[1].write(b"x")
            await asyncio.sleep(0.05)
        assert 408 == (await reply).status


async def test_a_refused_body_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on after the answer has the time of a head."""
    monkeypatch.setattr(bounds, "HEAD_SECONDS", 0.2)
    async with listening() as server:
        sent = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n"
        connection = await server.open(sent)
        assert 200 == (await replied(connection)).status
        connection[1].write(b"x")
        assert await is_over(connection)


async def test_idle_connections_make_room_for_new_ones() -> None:
    """The one that has been idle for longest goes; nobody is refused."""
    async with listening(connection_limit=2) as server:
        first = await server.open(get("/"))
        assert 200 == (await replied(first)).status
        second = await server.open()
        third = await server.open(get("/"))
        assert 200 == (await replied(third)).status
        assert await is_over(first)
        second[1].write(get("/"))
        assert 200 == (await replied(second)).status


async def test_a_connection_too_many_is_refused() -> None:
    """Where every other is being answered."""
    async with listening(connection_limit=2) as server:
        asking = chunked().replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        busy = [await server.open(asking) for _ in range(2)]
        for connection in busy:
            assert b"HTTP/1.1 100 Continue" == (await head_of(connection)).strip()
        assert 503 == (await replied(await server.open(get("/")))).status
        busy[0][1].write(b"1\r\nx\r\n0\r\n\r\n")
        assert 200 == (await replied(busy[0])).status


async def test_an_answer_nobody_fetches_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Room for it in memory is not kept for ever."""
    monkeypatch.setattr(bounds, "UNFETCHED_SECONDS", 0.2)
    async with listening() as server:
        connection = await server.open(get("/large"))
        await server.until(connected=True)
        await server.until(connected=False)  # its buffers are small, and nobody reads from them
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await replied(connection)


@pytest.mark.parametrize("at", [40, 110, 140])
@pytest.mark.parametrize("framed", ["length", "chunks", "lies"])
async def test_the_body_behind_a_declined_upgrade_is_read(framed: str, at: int) -> None:
    """However it is framed and cut; then the connection ends, as nobody knows what follows."""
    bodies = {
        "length": b"Content-Length: 5\r\n\r\nhello",
        "chunks": b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "lies": b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello",
    }
    start = b"POST /read HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    sent = start + bodies[framed]
    async with listening() as server:
        connection = await server.open(sent[:at])
        await asyncio.sleep(0.02)
        connection[1].write(sent[at:] + (b"" if framed == "lies" else b"GET / HTTP/1.1"))
        reply = await replied(connection)
        assert (400 if framed == "lies" else 200) == reply.status
        assert await is_over(connection)
