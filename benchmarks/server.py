"""The server under measurement: a process group of its own, and what it has spent."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.02


class Server:
    """A running server; everything it starts is of its session."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self.port = 0

    def wait_until_ready(self) -> None:
        """Wait until it takes requests.

        Raises:
            RuntimeError: it ended, or took too long; the message is its log.
        """
        deadline = time.monotonic() + START_SECONDS
        while not (self._listens() and self.condition()["ready"]):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text(errors="replace"))
            time.sleep(_POLL_SECONDS)

    def _listens(self) -> bool:
        self.port = self.port or _listening_port(self._log)
        return self.port > 0

    def condition(self) -> dict[str, Any]:
        """Return what readiness tells."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/health/ready")
            told: dict[str, Any] = json.loads(connection.getresponse().read())
            return told

    def cpu_seconds(self) -> float:
        """Return what its processes have spent so far, in user space and in the kernel."""
        return sum(map(_cpu_seconds, self._members()))

    def resident_bytes(self) -> int:
        """Return the memory its processes have now; pages they share count for each."""
        return sum(map(_resident_bytes, self._members()))

    def stop(self) -> None:
        """Ask it to end, and then make sure that nothing of it is left."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for member in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        self._process.wait()

    def _members(self) -> list[int]:
        return [int(stat.parent.name) for stat in _stats() if _session(stat) == self._process.pid]


@contextlib.contextmanager
def serving(**environment: str) -> Iterator[Server]:
    """Serve on a free port, with these settings and else the service's own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RACKFIT_")}
    settings = {"RACKFIT_PORT": "0", "RACKFIT_LOG_FORMAT": "json"} | environment
    with tempfile.NamedTemporaryFile(prefix="rackfit-benchmarks-", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.application"],
            cwd=ROOT,
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        server = Server(process, Path(log.name))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()


def _listening_port(log: Path) -> int:
    """Return the port the log says it listens on, or 0 as long as it does not."""
    for line in log.read_bytes().splitlines(keepends=True):
        if line.endswith(b"}\n") and (logged := json.loads(line))["event"] == "listening":
            return int(logged["url"].rpartition(":")[2])
    return 0


def _stats() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*/stat")


def _session(stat: Path) -> int:
    """Return a process's session id (proc(5): the sixth field; the second may hold spaces)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(stat.read_text().rpartition(")")[2].split()[3])
    return 0


def _cpu_seconds(pid: int) -> float:
    """Read the clock of a process; clock_getcpuclockid(3), which Python lacks, makes its id."""
    clock = (~pid << 3) | 2
    with contextlib.suppress(OSError):
        return time.clock_gettime(clock)
    return 0.0


def _resident_bytes(process: int) -> int:
    """Return a process' resident memory, nothing where it has just ended (proc(5))."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
