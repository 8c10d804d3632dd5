"""Files of secrets that change while the service runs."""

import os
from pathlib import Path

import pytest

from rackfit.access.watched import LOOKED_AT_SECONDS, Watched


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


def number(content: bytes) -> int:
    """Read a whole number."""
    return int(content)


def test_a_change_is_noticed_within_a_second(tmp_path: Path) -> None:
    """Until then nobody pays for looking."""
    file, clock = tmp_path / "n", Clock()
    file.write_text("1")
    watched = Watched(file, number, clock)
    file.write_text("22")
    assert watched.value == 1
    clock.now += LOOKED_AT_SECONDS
    assert watched.value == 22


def test_a_link_that_is_moved_is_a_change(tmp_path: Path) -> None:
    """Kubernetes replaces the target of a link; size and time may stay the same."""
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    os.utime(tmp_path / "b", ns=(0, (tmp_path / "a").stat().st_mtime_ns))
    link, clock = tmp_path / "n", Clock()
    link.symlink_to("a")
    watched = Watched(link, number, clock)
    link.unlink()
    link.symlink_to("b")
    clock.now += LOOKED_AT_SECONDS
    assert watched.value == 2


def test_a_file_at_fault_leaves_what_it_said_before(tmp_path: Path) -> None:
    """Half a file, or none, locks nobody out; a mended one is taken."""
    file, clock = tmp_path / "n", Clock()
    file.write_text("1")
    watched = Watched(file, number, clock)
    for broken in ("none", None):
        file.write_text(broken) if broken else file.unlink()
        clock.now += LOOKED_AT_SECONDS
        assert watched.value == 1
    file.write_text("3")
    clock.now += LOOKED_AT_SECONDS
    assert watched.value == 3


def test_a_first_file_at_fault_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A service that cannot check anybody does not start."""
    with pytest.raises(ValueError, match=r"n cannot be used: No such file or directory\."):
        Watched(tmp_path / "n", number)
    (tmp_path / "n").write_text("none")
    with pytest.raises(ValueError, match="n cannot be used: invalid literal"):
        Watched(tmp_path / "n", number)
