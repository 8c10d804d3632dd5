"""Log lines."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackfit.logs import configure_logging, escape_controls
from rackfit.settings import Settings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with level and time; a line feed in a value is spelled out."""
    configure_logging(Settings(log_format="json"))
    structlog.get_logger().info("request", path="/x\n{}")
    (line,) = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert ("request", "info", "/x\n{}") == (logged["event"], logged["level"], logged["path"])
    assert logged["timestamp"].endswith("Z")


def test_libraries_log_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of libraries are our lines; their chatter is left out."""
    configure_logging(Settings(log_format="json"))
    logging.getLogger("uvicorn.error").warning("odd %s", "request")
    logging.getLogger("uvicorn.error").info("chatter")
    (line,) = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert ("odd request", "uvicorn.error") == (logged["event"], logged["logger"])


def test_the_level_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines below it are dropped."""
    configure_logging(Settings(log_format="json", log_level="error"))
    structlog.get_logger().warning("dropped")
    assert "" == capsys.readouterr().err


def test_auto_is_json_away_from_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What no one watches is written for programs."""
    configure_logging(Settings())
    structlog.get_logger().info("x")
    assert "x" == json.loads(capsys.readouterr().err)["event"]


def test_a_console_line_shows_a_command_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The curl line can be pasted."""
    configure_logging(Settings(log_format="console"))
    structlog.get_logger().info("try", command="curl -s 'http://x' -H 'Accept: text/plain'")
    assert "curl -s 'http://x' -H 'Accept: text/plain'" in capsys.readouterr().err


def test_a_traceback_on_a_console_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    """A line feed in an exception's message does not begin a line."""
    configure_logging(Settings(log_format="console"))
    try:
        raise ValueError("x\n2026-01-01 [info] forged")  # noqa: TRY003, TRY301
    except ValueError:
        structlog.get_logger().exception("failed")
    lines = capsys.readouterr().err.splitlines()
    assert [] == [line for line in lines if line.startswith("2026-01-01 [info] forged")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(), max_size=50))
def test_no_value_begins_a_line_or_steers_a_terminal(value: str) -> None:
    """Every line but the first is indented; every control is spelled out."""
    shown = escape_controls(None, "info", {"event": value})["event"]
    first, *others = shown.split("\n")
    assert all(line.startswith("    ") for line in others)
    assert all(character.isprintable() for line in (first, *others) for character in line)
