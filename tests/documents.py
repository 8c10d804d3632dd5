"""The Markdown of the repository as tests read it: fenced blocks, commands and their output.

`console` blocks hold commands behind `$ ` (with as many lines more as a shell needs to read them),
each followed by all that it prints; a line of `…` alone stands for lines left out. `sh` blocks
hold commands without output. `json` blocks name the type of what they hold behind the language.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
PROMPT = "$ "
ELISION = "…"
_FENCE = re.compile(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


class Block(msgspec.Struct, frozen=True):
    """A fenced block: its language, what follows that on the line, and where its content begins."""

    path: Path
    line: int
    language: str
    about: str
    content: str

    @property
    def name(self) -> str:
        """File and line, as an editor finds them."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


class Command(msgspec.Struct, frozen=True):
    """A command, the line it stands in, and the lines shown beneath it (None: not shown)."""

    path: Path
    line: int
    text: str
    shown: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """File and line, as an editor finds them."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    """Return every Markdown file, but for hidden folders (environments, caches)."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."]
    nested = (path for folder in folders for path in folder.rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *nested])


def blocks(path: Path) -> list[Block]:
    """Return a document's fenced blocks in order."""
    text = path.read_text()
    return [
        Block(path, text.count("\n", 0, found.start(3)) + 1, *found.groups())
        for found in _FENCE.finditer(text)
    ]


def commands(path: Path) -> Iterator[Command]:
    """Yield the commands of a document's `console` and `sh` blocks in order."""
    for block in blocks(path):
        if block.language == "console":
            yield from _with_output(block)
        elif block.language == "sh":
            yield from _without_output(block)


def _with_output(block: Block) -> Iterator[Command]:
    lines = block.content.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith(PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        text, *shown = _joined([lines[start].removeprefix(PROMPT), *lines[start + 1 : end]])
        yield Command(block.path, block.line + start, text, tuple(shown))


def _without_output(block: Block) -> Iterator[Command]:
    lines = block.content.splitlines()
    while lines:
        line = block.line + len(block.content.splitlines()) - len(lines)
        text, *lines = _joined(lines)
        yield Command(block.path, line, text, None)


def _joined(lines: Sequence[str]) -> list[str]:
    """Join the first lines that a shell reads as whole commands; the rest stay as they are."""
    for end in range(1, len(lines) + 1):
        text = "\n".join(lines[:end])
        if not text.endswith("\\") and _is_whole(text):
            return [text, *lines[end:]]
    msg = f"no shell can read {lines[0]!r}"
    raise ValueError(msg)


def _is_whole(text: str) -> bool:
    parsed = subprocess.run(["sh", "-n", "-c", text], capture_output=True, check=False)  # noqa: S603, S607 - nothing is run
    return parsed.returncode == 0


def is_shown(printed: str, shown: Sequence[str]) -> bool:
    """Tell whether a command printed what a document shows, elisions standing for any lines."""
    parts = ["(?:.*\n)*" if line == ELISION else re.escape(line) + "\n" for line in shown]
    return re.fullmatch("".join(parts), printed) is not None


def reshown(printed: str, shown: Sequence[str]) -> list[str]:
    """Return what a document should show of new output, its elisions kept.

    What is shown behind an elision begins where its first line did, or as far from the end; it
    is as long as it was, and the last part goes on to the end.
    """
    lines = printed.splitlines()
    first, *others = _parts(shown)
    kept = list(lines if not others else lines[: len(first)])
    at = len(kept)
    for number, part in enumerate(others, 1):
        start = _start(lines, part, at)
        at = len(lines) if number == len(others) else start + len(part)
        kept += [ELISION, *(lines[start:at] if part else [])]
    return kept


def _start(lines: Sequence[str], part: Sequence[str], at: int) -> int:
    """Return where a part begins now, from line `at` on."""
    if part and part[0] in lines[at:]:
        return lines.index(part[0], at)
    return max(len(lines) - len(part), at)


def _parts(shown: Sequence[str]) -> list[list[str]]:
    """Split what is shown at its elisions."""
    parts: list[list[str]] = [[]]
    for line in shown:
        if line == ELISION:
            parts.append([])
        else:
            parts[-1].append(line)
    return parts
