"""The Dockerfile: linted, and what it says tried out as far as that goes without an engine."""

import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment import DOCKERFILE, ROOT, image_environment, installed, instructions, run
from rackfit.settings import read_settings
from servers import free_port


def _arguments(instruction: str) -> list[str]:
    return [arguments for name, arguments in instructions() if name == instruction]


def _copied() -> list[str]:
    """Return what is copied from the build context, not from another stage."""
    copies = [arguments.split() for arguments in _arguments("COPY")]
    return [path for *paths, _ in copies if "--from=builder" not in paths for path in paths]


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile follows every rule of hadolint, without exceptions."""
    assert "" == run(installed("hadolint"), "--no-color", DOCKERFILE)
    assert "hadolint" not in DOCKERFILE.read_text()


def test_hadolint_sees_a_fault(tmp_path: Path) -> None:
    """The linter that found nothing is one that can find something."""
    faulty = tmp_path / "Dockerfile"
    faulty.write_text("FROM python:latest\nRUN sudo pip install rackfit\n")

    with pytest.raises(AssertionError, match="DL3007"):
        run(installed("hadolint"), "--no-color", faulty)


def test_final_stage_runs_as_a_numeric_user_that_is_not_root() -> None:
    """Kubernetes' runAsNonRoot can be verified and no instruction after it is root's."""
    names = [name for name, _ in instructions()]
    [user] = _arguments("USER")
    final_stage = len(names) - 1 - names[::-1].index("FROM")

    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert final_stage < names.index("USER")
    assert {"COPY", "ADD", "RUN"}.isdisjoint(names[names.index("USER") :])


def test_entry_point_is_the_console_script_without_a_shell() -> None:
    """Signals reach the service itself, which the exec form starts by its installed name."""
    [entry_point] = _arguments("ENTRYPOINT")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert ["rackfit"] == json.loads(entry_point)
    assert "rackfit" in project["scripts"]
    assert [] == _arguments("CMD")


def test_image_settings_are_read_by_the_service() -> None:
    """The variables set in the image are settings, and make it listen beyond loopback."""
    settings = read_settings(image_environment())

    assert ("0.0.0.0", 8080, "json") == (  # noqa: S104 - inside a container
        settings.host,
        settings.port,
        settings.log_format,
    )
    assert [str(settings.port)] == _arguments("EXPOSE")


def test_image_is_labelled_and_holds_no_secret() -> None:
    """OCI labels say what the image is; no variable or argument is meant for a credential."""
    [labels] = _arguments("LABEL")
    named = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels))
    variables = " ".join(_arguments("ENV") + _arguments("ARG"))

    assert {"title", "description", "licenses", "version", "revision"} <= named
    assert not re.search("PASSW|SECRET|TOKEN|CREDENTIAL|_KEY", variables, re.IGNORECASE)


def test_requirements_are_installed_by_hash() -> None:
    """Every installation in the image checks hashes or is of the wheel built beside it."""
    steps = [step for line in _arguments("RUN") for step in line.split("&&")]
    installs = [step for step in steps if " install " in step]

    assert len(installs) == 3
    assert all("--require-hashes" in step or "--no-index" in step for step in installs)


@pytest.mark.parametrize("path", _copied())
def test_what_is_copied_exists_and_is_not_ignored(path: str) -> None:
    """A path the build copies is in the tree and among the exceptions of .dockerignore."""
    ignored, *exceptions = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert (ROOT / path).exists()
    assert "*" == ignored
    assert f"!{path.split('/', maxsplit=1)[0]}" in exceptions


def test_wheel_built_from_what_is_copied_holds_the_whole_package(tmp_path: Path) -> None:
    """Nothing of service/rackfit is missing in the image: no module and no catalog file."""
    for path in _copied():
        _copy(path, tmp_path)
    run(installed("hatchling"), "build", "--target", "wheel", cwd=tmp_path)
    [wheel] = (tmp_path / "dist").glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("rackfit/")}

    package = ROOT / "service/rackfit"
    files = {
        f"rackfit/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == packed


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_health_check_tells_by_the_status_of_the_live_route(status: int, *, healthy: bool) -> None:
    """The image is healthy exactly while /health/live answers 200, proxies set or not."""
    with _server(status) as (port, asked):
        proxied = _health_check(port, http_proxy="http://127.0.0.1:9")

    assert healthy == (proxied == 0)
    assert ["/health/live"] == asked


def test_health_check_fails_when_nothing_listens() -> None:
    """The image is unhealthy while the service has not started or is gone."""
    assert 0 != _health_check(free_port())


def _health_check(port: int, **environment: str) -> int:
    """Run the image's own health check with this interpreter and return its exit status."""
    [arguments] = _arguments("HEALTHCHECK")
    _python, *options = json.loads(arguments[arguments.index("CMD ") + 4 :])
    return subprocess.run(  # noqa: S603 - the command stands in the Dockerfile
        [sys.executable, *options],
        env={**os.environ, **environment, "RACKFIT_PORT": str(port)},
        capture_output=True,
        timeout=30,
        check=False,
    ).returncode


@contextlib.contextmanager
def _server(status: int) -> Iterator[tuple[int, list[str]]]:
    """Serve `status` for every GET; yield the port and the paths asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def _copy(path: str, target: Path) -> None:
    source, destination = ROOT / path, target / path
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, destination)
