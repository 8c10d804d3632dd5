"""`python tests/refreshing.py`: write into the documents what their commands print now.

Where an elision stands is kept; what cannot be told is left to whoever reads the difference.
"""

import sys
from pathlib import Path

from documents import Command, documents, reshown
from terminal import Ended, execute, missing_tools


def main() -> int:
    """Rewrite every document in place; returns the exit status."""
    if missing := missing_tools():
        sys.stderr.write(f"Not on PATH: {', '.join(missing)}\n")
        return 1
    return max(map(_refresh, documents()), default=0)


def _refresh(path: Path) -> int:
    ended = {command: end for command, end in execute(path).items() if command.shown is not None}
    failed = [command.name for command, end in ended.items() if end.status]
    if failed:
        sys.stderr.write(f"Ended with failure, left as they are: {', '.join(failed)}\n")
    path.write_text(_rewritten(path, {c: end for c, end in ended.items() if not end.status}))
    return bool(failed)


def _rewritten(path: Path, ended: dict[Command, Ended]) -> str:
    """Return the document with new output, worked in from its end so that lines stay put."""
    lines = path.read_text().splitlines()
    for command, end in reversed(ended.items()):
        shown = command.shown or ()
        first = command.line - 1 + len(command.text.splitlines())
        lines[first : first + len(shown)] = reshown(end.printed, shown)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
