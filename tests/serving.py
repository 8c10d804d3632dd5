"""The service for tests: in this process behind a client, or for real on a port of its own."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import IO, Any, NamedTuple

import httpx
from litestar.types import ASGIApp

from rackfit.application import create_application
from rackfit.settings import Settings

START_SECONDS = 60.0
ANSWER_SECONDS = 30.0


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application in this process, its start-up and shutdown included."""
    application = create_application(settings)
    async with _lifespan(application), _client(application) as client:
        yield client


def _client(application: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type] # typed otherwise
    return httpx.AsyncClient(transport=transport, base_url="http://rackfit.test")


@contextlib.asynccontextmanager
async def _lifespan(application: ASGIApp) -> AsyncIterator[None]:
    """Speak the lifespan protocol as a server does."""
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    serving = asyncio.create_task(application(scope, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert {"type": "lifespan.startup.complete"} == await outbox.get()
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert {"type": "lifespan.shutdown.complete"} == await outbox.get()
        await serving


class Reply(NamedTuple):
    """A response as it stood on the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_reply(connection: socket.socket, *, method: str = "GET") -> Reply:
    """Read one response from a connection."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    return Reply(
        response.status, {name.lower(): value for name, value in response.getheaders()}, body
    )


async def parsed(reader: asyncio.StreamReader) -> Reply:
    """Read one response that declares its length from a stream."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head.strip().split("\r\n")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(status.split()[1]), headers, body)


class Service:
    """`python -m rackfit` in a process of its own; `log` holds its lines so far."""

    def __init__(self, environment: dict[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RACKFIT_")}
        self.log: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rackfit"],
            env=inherited | {"RACKFIT_PORT": "0", "RACKFIT_COMPUTE_PROCESSES": "1"} | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()
        self.port = self._listening_port()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.log.append(json.loads(line) if line.startswith("{") else {"text": line})

    def _listening_port(self) -> int:
        """Wait for the line that says where it listens."""
        line = self.logged("listening")
        return int(line["url"].rpartition(":")[2])

    def logged(self, event: str, **values: object) -> dict[str, Any]:
        """Wait for a line of the log with these values, and return it."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in list(self.log):
                if line.get("event") == event and values.items() <= line.items():
                    return line
            time.sleep(0.01)
        raise AssertionError(self.log)

    def raw(self, sent: bytes) -> Reply:
        """Send bytes as they are on a new connection and read one response."""
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as connection:
            connection.sendall(sent)
            return read_reply(connection, method=sent.partition(b" ")[0].decode("latin-1"))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process and return its exit status."""
        self.process.send_signal(how)
        try:
            return self.process.wait(ANSWER_SECONDS)
        finally:
            self.process.kill()
            self._reader.join(ANSWER_SECONDS)  # standard error is shared with its workers
            assert not self._reader.is_alive(), "a process was left behind"


@contextlib.contextmanager
def service(**environment: str) -> Iterator[Service]:
    """Run the service for real, on a free port, with one worker process."""
    started = Service(environment)
    try:
        started.raw(b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n")
        yield started
    finally:
        started.stop()
