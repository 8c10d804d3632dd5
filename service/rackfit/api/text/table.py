"""Laying out lines: tables, lists of facts and paragraphs, none wider than the screen."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rackfit.api.text.screen import COLUMNS, printable, width, wrap

GAP = 2
INDENT = "  "
RIGHT = ">"

Lines = list[str]


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Lines:
    """Lay out a table; a header that begins with `>` puts its column to the right.

    Cells too long for the screen go on below, in their column.
    """
    titles = [header.removeprefix(RIGHT) for header in headers]
    right = [header.startswith(RIGHT) for header in headers]
    return _aligned([titles, *rows], right)


def facts(pairs: Iterable[tuple[str, str]]) -> Lines:
    """Lay out names and what they are, one below the other."""
    return _aligned(list(pairs), [False, False])


def paragraph(text: str, indent: int = 0) -> Lines:
    """Break a sentence into lines, all but the first indented further."""
    first, rest = INDENT * indent, INDENT * (indent + 1)
    lines = wrap(text, COLUMNS - len(rest))
    return [first + lines[0], *(rest + line for line in lines[1:])]


def section(title: str, lines: Iterable[str]) -> Lines:
    """Put a title over `lines`; nothing at all where there are none."""
    under = list(lines)
    return [*paragraph(title), *under] if under else []


def sentences(title: str, texts: Iterable[str]) -> Lines:
    """List sentences under a title."""
    return section(title, (line for text in texts for line in paragraph(text, 1)))


def names(given: Iterable[str]) -> Lines:
    """Join names into one sentence; none where there are none."""
    joined = ", ".join(given)
    return [joined] if joined else []


def page(*blocks: Sequence[str]) -> str:
    """Join blocks with an empty line between them; empty blocks are left out."""
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Lines:
    shown = [[printable(cell) for cell in row] for row in rows]
    columns = [max(map(width, column)) for column in zip(*shown, strict=True)]
    widths = _narrowed(columns)
    return [line for row in shown for line in _row(row, widths, right)]


def _narrowed(columns: Sequence[int]) -> list[int]:
    """Take from the widest columns until all of them fit the screen."""
    room = COLUMNS - GAP * (len(columns) - 1)
    widths = [min(column, room) for column in columns]
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Lines:
    wrapped = [wrap(cell, columns) for cell, columns in zip(cells, widths, strict=True)]
    return [
        (" " * GAP).join(map(_padded, line, widths, right)).rstrip()
        for line in zip_longest(*wrapped, fillvalue="")
    ]


def _padded(text: str, columns: int, right: bool) -> str:  # noqa: FBT001 - mapped over a row
    space = " " * (columns - width(text))
    return space + text if right else text + space
