"""A TCP proxy that makes a good server a bad one: late, cut off, silent, or talking nonsense."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

Mode = Literal["pass", "late", "cut", "silent", "garbage", "closed"]

LATE_SECONDS = 0.5
CUT_BYTES = 3
"""Of a reply so many bytes come through before the connection is reset."""


class Proxy:
    """A proxy on a port of its own, in a thread of its own; `mode` may change at any time.

    `asked` counts what clients sent that had to be answered, and `connections` theirs.
    """

    def __init__(self, target_port: int) -> None:
        self.mode: Mode = "pass"
        self.asked = 0
        self.connections = 0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=listener)
        )
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def turn(self, mode: Mode) -> None:
        """Become this kind of server, for connections there are as well."""
        self.mode = mode
        if mode == "closed":
            asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result()

    def stop(self) -> None:
        """End every connection and the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        await self._drop()
        await asyncio.sleep(0.05)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drop(self) -> None:
        for writer in [*self._writers]:
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.mode == "closed":
            _reset(writer)
            return
        self._writers.add(writer)
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(outer)
            await asyncio.gather(self._up(reader, outer), self._down(inner, writer))
        except OSError:
            pass
        finally:
            for each in (writer, *([outer] if "outer" in locals() else [])):
                self._writers.discard(each)
                each.close()

    async def _up(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.asked += 1
            server.write(data)
            await server.drain()
        server.close()

    async def _down(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await server.read(65536):
            match self.mode:
                case "silent":
                    continue
                case "late":
                    await asyncio.sleep(LATE_SECONDS)
                case "garbage":
                    data = b"\x00\xff<html>" * 7 + b"\r\n"
                case "cut":
                    client.write(data[:CUT_BYTES])
                    _reset(client)
                    return
                case _:
                    pass
            client.write(data)
            await client.drain()
        client.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Abort a connection, as a server that dies does."""
    with contextlib.suppress(OSError):
        writer.transport.abort()


@contextlib.contextmanager
def proxy(target_port: int) -> Iterator[Proxy]:
    """Put a proxy before a port."""
    started = Proxy(target_port)
    try:
        yield started
    finally:
        started.stop()
