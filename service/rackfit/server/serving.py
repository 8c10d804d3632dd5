"""One serving process: an event loop that listens until told to end, and ends in order.

Its end: readiness fails and what is being computed gets less time, while requests are still
taken; then nothing new is accepted and what is under way is answered; then the process goes.
"""

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from rackfit.server.protocol import HttpProtocol
from rackfit.server.repeats import Repeats
from rackfit.settings import Settings
from rackfit.wire import CLOSE

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # longer than load balancers keep idle connections, commonly 60 s

NOTICE_SECONDS = 1.0
"""How long readiness fails before connections are refused."""
CLOSING_SECONDS = 4.0
"""What requests under way get, from the signal on."""
GRACE_SECONDS = 5
"""What all connections get after the notice. With a second for the pool and the cache to close,
the whole end stays well below the 10 s that supervisors commonly grant.
"""

FILES_BESIDE_CONNECTIONS = 256
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Config(uvicorn.Config):
    """uvicorn's configuration, and what connections know beside it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            "rackfit.application:application",
            factory=True,
            loop="uvloop",
            http=HttpProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self.connection_limit = settings.connection_limit
        self.repeats = Repeats()


class _Server(uvicorn.Server):
    """uvicorn's server with an end of our own."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell when that is done."""
        await super().startup(sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        close: Callable[[float], None] = self.lifespan.state[CLOSE]
        close(CLOSING_SECONDS)
        if not self.force_exit:
            await asyncio.sleep(NOTICE_SECONDS)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal, and for good: uvicorn would raise it again when all is shut down.

        That skips the interpreter's own end, leaves temporary directories behind and makes a
        graceful end look like a failure.
        """
        before: dict[int, Any] = {s: signal.signal(s, self.handle_exit) for s in END_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    settings: Settings, listener: socket.socket, on_start: Callable[[], None] = lambda: None
) -> None:
    """Serve on a listening socket until told to end.

    Raises:
        SystemExit: the application did not start.
    """
    _allow_files(settings.connection_limit + FILES_BESIDE_CONNECTIONS)
    _Server(_Config(settings), on_start).run(sockets=[listener])


def _allow_files(needed: int) -> None:
    """Raise the limit on open files to what the connections take, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
