"""Every command of the documents runs, and prints what the document shows."""

from collections.abc import Callable, Sequence
from difflib import unified_diff
from functools import cache
from pathlib import Path

import pytest

import documents
from documents import ELISION, Command, is_shown, reshown
from terminal import (
    EXAMPLES,
    STAND_INS,
    UNEXECUTED,
    Ended,
    executable,
    execute,
    is_unexecuted,
    missing_tools,
)

DOCUMENTS = documents.documents()
EVERY = [command for path in DOCUMENTS for command in documents.commands(path)]
EXECUTED = [command for path in DOCUMENTS for command in executable(path)]
README = documents.ROOT / "README.md"


@pytest.fixture(scope="session")
def ended() -> Callable[[Command], Ended]:
    """Return what a command came to, after all those before it in its document."""
    if missing := missing_tools():
        pytest.skip(f"{' and '.join(missing)} not on PATH: no command of the documents was run")
    executed = cache(execute)
    return lambda command: executed(command.path)[command]


@pytest.mark.parametrize("command", EXECUTED, ids=lambda command: command.name)
def test_command_prints_what_is_shown(command: Command, ended: Callable[[Command], Ended]) -> None:
    """It ends with success and the very output in the document; `make docs` writes that anew."""
    end = ended(command)

    assert 0 == end.status, end.printed
    if command.shown is not None:
        assert is_shown(end.printed, command.shown), _difference(end.printed, command.shown)


def _difference(printed: str, shown: Sequence[str]) -> str:
    return "\n".join(unified_diff(shown, reshown(printed, shown), "shown", "printed", lineterm=""))


def test_readme_is_run() -> None:
    """The tests above have something to run: dozens of commands of the README alone."""
    assert 25 <= sum(command.path == README for command in EXECUTED)


@pytest.mark.parametrize("beginning", UNEXECUTED)
def test_exception_is_needed(beginning: str) -> None:
    """Each beginning of commands that cannot run is that of one in the documents."""
    assert any(c.text.startswith(beginning) for c in EVERY if is_unexecuted(c))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_console_blocks_begin_with_a_command(path: Path) -> None:
    """No line of a console block stands before its first command, where nothing would run it."""
    consoles = [block for block in documents.blocks(path) if block.language == "console"]

    assert [] == [b.name for b in consoles if not b.content.startswith(documents.PROMPT)]


def test_every_example_is_used() -> None:
    """A file of docs/examples stands in some command or is what a tool's stand-in prints."""
    texts = "\n".join(command.text for command in EVERY)
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    relative = [str(path.relative_to(documents.ROOT)) for path in files]

    unused = [name for name in relative if name not in texts]
    assert set(unused) <= {f"docs/examples/{name}" for name in STAND_INS.values()}


PRINTED = "a\nb\nc\nd\ne\n"


@pytest.mark.parametrize(
    "shown",
    [
        ["a", "b", "c", "d", "e"],
        ["a", ELISION],
        [ELISION, "e"],
        [ELISION, "b", "c", ELISION, "e"],
        ["a", "b", "c", "d", "e", ELISION],
        [ELISION],
    ],
)
def test_elision_stands_for_any_lines(shown: list[str]) -> None:
    """What is shown is the whole output, but for lines an elision stands for; none, too."""
    assert is_shown(PRINTED, shown)
    assert shown == reshown(PRINTED, shown)


@pytest.mark.parametrize(
    "shown",
    [["a", "b", "c", "d"], ["b", ELISION], [ELISION, "d"], [ELISION, "c", "b", ELISION], []],
)
def test_other_output_is_noticed(shown: list[str]) -> None:
    """Lines that are missing, changed or in another order are no elision."""
    assert not is_shown(PRINTED, shown)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (["x", "b"], ["a", "b", "c", "d", "e"]),
        (["x", ELISION, "d", "x"], ["a", ELISION, "d", "e"]),
        (["x", ELISION, "x", "y"], ["a", ELISION, "d", "e"]),
        (["x", ELISION, "c", ELISION], ["a", ELISION, "c", ELISION]),
        (["x", "y", "z", ELISION, *"uvw"], ["a", "b", "c", ELISION, "d", "e"]),
        ([ELISION], [ELISION]),
    ],
)
def test_new_output_keeps_the_elisions(shown: list[str], expected: list[str]) -> None:
    """Parts begin where their first line does now, or as far from the end as before."""
    assert expected == reshown(PRINTED, shown)
