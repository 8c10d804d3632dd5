"""`python -m rackfit`, run for real."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asking import get, post
from rackfit.__main__ import main
from rackfit.access.keys import owner, read_keys
from rackfit.settings import Settings
from servers import RedisServer, free_port
from serving import Service, read_reply, service

QUESTION = {"model": {"id": "Qwen/Qwen3-8B"}, "workload": {"context_tokens": 4096}}
PLAN = QUESTION | {"inventory": {"nodes": [{"name": "a", "accelerator": "h200", "count": 8}]}}


def ended(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run the module, which is to end by itself."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RACKFIT_")}
    return subprocess.run(
        [sys.executable, "-m", "rackfit"],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RACKFIT_PORT", "abc", "'abc'; it must be a whole number from 0 to 65,535."),
        ("RACKFIT_WORKERS", "0", "'0'; it must be a whole number from 1 to 256."),
        ("RACKFIT_DEVICE_RESERVE", "1", "'1'; it must be a number of 0 or more and below 1."),
        (
            "RACKFIT_LOG_LEVEL",
            "loud",
            "'loud'; it must be 'debug', 'error', 'info' or 'warning'.",
        ),
        ("RACKFIT_BODIES_LIMIT_BYTES", "1000", "1000; it must be at least 67108864, the limit of"),
        ("RACKFIT_PROT", "80", "RACKFIT_PORT"),
        ("RACKFIT_REDIS_URL", "localhost:6379", "it must begin with redis://, rediss://, unix"),
        (
            "RACKFIT_REDIS_URL",
            "http://",
            "it must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://.",
        ),
        ("RACKFIT_REDIS_URL", "redis://[::1", "its host and port cannot be read;"),
        ("RACKFIT_REDIS_URL", "redis://:se/cret@h:1", "its host and port cannot be read;"),
        ("RACKFIT_REDIS_URL", "redis://h:99999/0", "its host and port cannot be read;"),
        ("RACKFIT_REDIS_URL", "redis://h/notadb", "its path must be the number of a database"),
        ("RACKFIT_REDIS_URL", "redis:///0", "it names no host;"),
        ("RACKFIT_REDIS_URL", "redis://h?socket_timeout=abc", "unknown or has a wrong value."),
        ("RACKFIT_REDIS_URL", "redis://h?socket_timeuot=1", "unknown or has a wrong value."),
        ("RACKFIT_REDIS_URL", "unix://", "it must name a socket,"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    said: str,
) -> None:
    """It says what would be right; the exit status tells a misconfiguration from a failure."""
    for variable in (v for v in os.environ if v.startswith("RACKFIT_")):
        monkeypatch.delenv(variable)
    monkeypatch.setenv(name, value)
    assert 2 == main([])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"rackfit: {'Unknown setting ' * (name not in Settings.variables())}{name}"
    )
    assert said in line
    assert "cret" not in line


def test_a_wrong_setting_ends_the_process() -> None:
    """The module's own exit status is that of `main`."""
    process = ended(RACKFIT_PORT="abc")
    assert (2, 1) == (process.returncode, len(process.stderr.splitlines()))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_directory_for_metrics_that_cannot_be_written_is_one_line(workers: str) -> None:
    """It names the directory, before anything is served."""
    process = ended(PROMETHEUS_MULTIPROC_DIR="/proc/metrics", RACKFIT_WORKERS=workers)
    expected = (
        "rackfit: PROMETHEUS_MULTIPROC_DIR is '/proc/metrics'; it must be a directory that can be "
        "written to: No such file or directory.\n"
    )
    assert (2, expected) == (process.returncode, process.stderr)


def test_a_port_in_use_is_one_line() -> None:
    """The line says where it could not listen and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = ended(RACKFIT_PORT=str(port))
    expected = f"rackfit: Cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert (1, expected) == (process.returncode, process.stderr)


@pytest.mark.parametrize("content", ["{", '{"id": "x"}'])
def test_a_broken_catalog_is_one_line_that_names_the_file(tmp_path: Path, content: str) -> None:
    """The service refuses to start on data it cannot use."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.json").write_text(content)
    process = ended(RACKFIT_CATALOG_DIR=str(tmp_path), RACKFIT_PORT="0")
    assert 1 == process.returncode
    (line,) = process.stderr.splitlines()
    assert "broken.json" in line


def test_a_private_model_of_an_unknown_family_is_named(tmp_path: Path) -> None:
    """A model that no reader takes is told before serving, not when somebody asks."""
    entry = {
        "id": "us/secret",
        "name": "Secret",
        "family": "secret",
        "developer": "us",
        "licence": "none",
        "config": {"model_type": "secret"},
    }
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "secret.json").write_text(json.dumps(entry))
    process = ended(RACKFIT_CATALOG_DIR=str(tmp_path), RACKFIT_PORT="0")
    assert 1 == process.returncode
    assert "us/secret" in process.stderr
    assert "Traceback" not in process.stderr


def test_the_first_lines_say_where_which_cache_and_how_to_try() -> None:
    """They come in this order, and the command can be pasted as it stands in the line."""
    with service(RACKFIT_LOG_FORMAT="json") as running:
        tried = running.logged("try")
        assert ["listening", "cache", "try"] == [line["event"] for line in running.log[:3]]
        assert f"http://127.0.0.1:{running.port}" == running.log[0]["url"]
        assert "in-process" == running.log[1]["tiers"]
        command = str(tried["command"])
        assert json.dumps(command) == f'"{command}"'
        shown = subprocess.run(  # noqa: S602 - the line itself is under test
            command, shell=True, capture_output=True, text=True, timeout=30, check=True
        )
    assert "Q4_K_M" in shown.stdout


def test_the_cache_line_keeps_the_password() -> None:
    """Of the Redis URL only host and port are told."""
    port = free_port()
    with service(RACKFIT_REDIS_URL=f"redis://me:secret@127.0.0.1:{port}/0") as running:
        assert f"in-process, then Redis at 127.0.0.1:{port}" == running.logged("cache")["tiers"]
        assert not [line for line in running.log if "secret" in str(line)]


def test_a_redis_that_is_dead_or_dies_changes_no_answer(own_redis: RedisServer) -> None:
    """Answers are the same, to the byte, without Redis, with it, and after its death."""
    with service() as alone, service(RACKFIT_REDIS_URL=own_redis.url) as shared:
        expected = alone.raw(post("/v1/plans", PLAN))
        first = shared.raw(post("/v1/plans", PLAN))
        own_redis.kill()
        answers = [shared.raw(post("/v1/plans", PLAN | {"limit": n})) for n in (5, 1, 2, 3, 5)]
        ready = json.loads(shared.raw(get("/health/ready")).body)
    with service(RACKFIT_REDIS_URL=own_redis.url) as dead:
        answers.append(dead.raw(post("/v1/plans", PLAN)))
    assert {200} == {reply.status for reply in (expected, first, *answers)}
    same = (expected, first, answers[0], answers[4], answers[5])
    assert 1 == len({(reply.body, reply.headers["etag"]) for reply in same})
    assert ready["ready"] is True
    assert ready["cache"]["redis"] is not None


def test_a_request_under_way_is_answered_before_the_end() -> None:
    """SIGTERM lets it finish, and the end comes within the time supervisors grant."""
    sent = post("/v1/plans", PLAN)
    with service() as running:
        with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
            connection.sendall(sent[:-10])
            assert comes_to(2, running, "rackfit_http_requests_in_progress")  # it is taken up
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            connection.sendall(sent[-10:])
            assert 200 == read_reply(connection).status
        assert 0 == running.process.wait(10)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_behind(how: signal.Signals) -> None:
    """The workers of the pool end with the service, without a traceback."""
    with service() as running:
        running.raw(post("/v1/plans", PLAN))
        assert 0 == running.stop(how)
    assert not [line for line in running.log if "Traceback" in str(line)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_processes_of_a_killed_service_end_too(workers: str) -> None:
    """Even SIGKILL leaves no orphans."""
    with service(RACKFIT_WORKERS=workers) as running:
        running.raw(post("/v1/plans", PLAN))
        family = descendants(running.process.pid)
        running.stop(signal.SIGKILL)
        assert len(family) > 2
        assert are_gone(family)


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes a process has started, and they in turn."""
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return [*children, *(d for child in children for d in descendants(child))]


def are_gone(pids: list[int]) -> bool:
    """Tell whether processes end soon."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_a_process_that_dies_is_told_and_replaced() -> None:
    """The line has its id and how it ended."""
    with service(RACKFIT_WORKERS="2") as running:
        first, *_ = serving_processes(running)
        assert 200 == running.raw(get("/v1/version")).status
        os.kill(first, signal.SIGKILL)
        died = running.logged("process_died", pid=first)
        assert ("error", -signal.SIGKILL) == (died["level"], died["exit_status"])
        assert comes_to(1, running, "rackfit_build_info")


def test_a_process_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    """The next would fail the same way: no crash loop, and a status that tells a failure."""
    (tmp_path / "sitecustomize.py").write_text(
        # Without a word: what the two wrote would fall between the service's own lines.
        "import os, sys\nif 'spawn_main' in ' '.join(sys.orig_argv): os._exit(1)\n"
    )
    process = ended(RACKFIT_WORKERS="2", RACKFIT_PORT="0", PYTHONPATH=str(tmp_path))
    assert 1 == process.returncode
    last = json.loads(process.stderr.splitlines()[-1])
    assert ("process_did_not_start", 1) == (last["event"], last["exit_status"])


def test_several_processes_share_a_port_and_sum_their_metrics() -> None:
    """Whichever is scraped tells of all, and the dead are forgotten but for what they counted."""
    with service(RACKFIT_WORKERS="2") as running:
        for _ in range(40):
            assert 200 == running.raw(get("/v1/version")).status
        assert 40 == metric(running, "rackfit_http_requests_total", "/v1/version")
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                connection = socket.create_connection(("127.0.0.1", running.port), 10)
                stack.enter_context(connection).sendall(post("/v1/plans", PLAN)[:-1])
            assert comes_to(5, running, "rackfit_http_requests_in_progress")
            for child in serving_processes(running):
                os.kill(child, signal.SIGKILL)
        assert 40 == metric(running, "rackfit_http_requests_total", "/v1/version")
        assert comes_to(1, running, "rackfit_http_requests_in_progress")
        assert 1 == metric(running, "rackfit_build_info")


def serving_processes(running: Service) -> list[int]:
    """Return the process ids of the serving processes."""
    pid = running.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]


def comes_to(expected: float, running: Service, name: str) -> bool:
    """Tell whether a gauge reaches a value soon."""
    deadline = time.monotonic() + 20
    while metric(running, name) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return metric(running, name) == expected


def metric(running: Service, name: str, containing: str = "") -> float:
    """Return the sum of a metric's samples."""
    lines = running.raw(get("/metrics")).body.decode().splitlines()
    wanted = [x for x in lines if re.match(rf"{name}[ {{]", x) and containing in x]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def test_off_loopback_a_service_that_asks_nobody_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what would let it: keys, tokens, or the word that something else asks."""
    monkeypatch.setenv("RACKFIT_HOST", "0.0.0.0")  # noqa: S104 - it is refused
    assert 2 == main([])
    said = capsys.readouterr().err
    assert "RACKFIT_API_KEYS_FILE" in said
    assert "--insecure" in said


def test_a_file_of_keys_that_cannot_be_used_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And not by turning everybody away later."""
    (tmp_path / "keys").write_text("rackfit_secret\n")
    monkeypatch.setenv("RACKFIT_API_KEYS_FILE", str(tmp_path / "keys"))
    assert 2 == main([])
    said = capsys.readouterr().err
    assert "keys cannot be used: line 1" in said
    assert "secret" not in said


def test_a_key_is_made_that_opens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line goes to a file, the key to whoever looks at the terminal."""
    assert 0 == main(["key", "scheduler", "--scopes", "read,plan"])
    printed = capsys.readouterr()
    key = printed.err.split()[-1]
    found = owner(read_keys(printed.out.encode()), key)
    assert found is not None
    assert found.name == "scheduler"


@pytest.mark.parametrize("wrong", [["key", "two words"], ["key", "a", "--scopes", "everything"]])
def test_a_key_that_no_file_could_hold_is_not_made(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what a name and scopes are."""
    assert 2 == main(wrong)
    assert "No such key can be made: " in capsys.readouterr().err
