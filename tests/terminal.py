"""A terminal as an operator has one: a shell, the service, and tools that print the examples.

Commands run in a scratch directory that holds `docs/examples`. Where no cluster and no GPU is,
`kubectl` and `nvidia-smi` are stood in for: given the very arguments the documents show, they
print an example; given others, they fail.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from documents import ROOT, Command, commands
from serving import Service, service

EXAMPLES = ROOT / "docs/examples"
DOCUMENTED_URL = "http://127.0.0.1:8080"
TOOLS = ("curl", "jq")
SECONDS = 60

STAND_INS: Mapping[str, str] = {
    "kubectl get nodes,pods -A -o json": "kubectl-nodes-pods.json",
    (
        "nvidia-smi --query-gpu=index,name,memory.total,memory.used,mig.mode.current --format=csv"
    ): "nvidia-smi.csv",
}

UNEXECUTED: Mapping[str, str] = {
    "make run": "serves until it is stopped; tests/test_main.py runs what it starts",
    "make test": "is what runs this",
    "docker compose up": "needs a Docker engine; tests/deploy/test_compose.py checks the file",
    "kubectl ": "needs a cluster; tests/deploy/test_runbook.py has kubectl read each command",
    "{\n": "ends in kubectl apply; tests/deploy/test_runbook.py runs all before that",
    "q() {": "defines a function that asks a deployment's Prometheus",
    "q '": "asks Prometheus; tests/deploy/test_live_prometheus.py has it answer each query",
    "logs() {": "defines a function that reads a deployment's log",
    "logs |": "reads a deployment's log",
    "redis() {": "defines a function that asks a deployment's Redis",
    "redis ": "asks a deployment's Redis",
}
"""How commands begin that cannot run in a test, and why; only those of `sh` blocks may."""


class Ended(msgspec.Struct, frozen=True):
    """What a command came to: its exit status, and all it printed, ending in a new line."""

    status: int
    printed: str


class Terminal:
    """A shell beside a running service."""

    def __init__(self, directory: Path, running: Service) -> None:
        self._directory = directory
        self._url = f"http://127.0.0.1:{running.port}"
        shutil.copytree(EXAMPLES, directory / EXAMPLES.relative_to(ROOT))
        _stand_in(directory / "bin")

    def run(self, command: Command) -> Ended:
        """Run a command to its end; the documented address stands for the service's own."""
        ended = subprocess.run(  # noqa: S603 - a command of our own documents
            ["sh", "-c", command.text.replace(DOCUMENTED_URL, self._url)],  # noqa: S607 - the same
            cwd=self._directory,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        printed = ended.stdout.replace(self._url, DOCUMENTED_URL)
        whole = not printed or printed.endswith("\n")
        return Ended(ended.returncode, printed if whole else printed + "\n")

    def _environment(self) -> dict[str, str]:
        """Return a plain environment: no proxy between curl and loopback, nobody's locale."""
        return {
            "PATH": f"{self._directory / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self._directory),
            "LC_ALL": "C.UTF-8",
            "rackfit": self._url,
        }


def _stand_in(directory: Path) -> None:
    """Write the tools that print an example each."""
    directory.mkdir()
    for line, example in STAND_INS.items():
        tool, arguments = line.split(" ", 1)
        script = directory / tool
        script.write_text(
            f'#!/bin/sh\n[ "$*" = {shlex.quote(arguments)} ] || exit 64\n'
            f"exec cat {shlex.quote(str(EXAMPLES / example))}\n"
        )
        script.chmod(0o755)


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Open a terminal beside a service of its own, with nothing in its cache."""
    with (
        tempfile.TemporaryDirectory(prefix="rackfit-documents-") as directory,
        service(RACKFIT_REQUEST_TIMEOUT_SECONDS=str(SECONDS)) as running,
    ):
        yield Terminal(Path(directory), running)


def executable(path: Path) -> list[Command]:
    """Return a document's commands but for those that cannot run in a test."""
    return [command for command in commands(path) if not is_unexecuted(command)]


def is_unexecuted(command: Command) -> bool:
    """Tell whether a command is one that cannot run in a test."""
    return command.shown is None and command.text.startswith(tuple(UNEXECUTED))


def execute(path: Path) -> dict[Command, Ended]:
    """Run all commands of a document that can run, one after the other in one terminal."""
    with terminal() as opened:
        return {command: opened.run(command) for command in executable(path)}


def missing_tools() -> list[str]:
    """Return the tools documents use that this machine lacks."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]
