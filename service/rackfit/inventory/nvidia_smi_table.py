"""Takes apart what `nvidia-smi --query-gpu=... --format=csv` prints, line by line.

Header and units may be there or not (`noheader`, `nounits`). Beside the table nvidia-smi
prints remarks and the GPUs it lost; where a driver is missing it prints a sentence instead.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from rackfit.errors import InvalidInput

MIG_COLUMN = "mig.mode.current"
USUAL_COLUMNS = ("index", "name", "memory.total", "memory.used")
BEST_COLUMNS = (*USUAL_COLUMNS, MIG_COLUMN)
QUERY = f"nvidia-smi --query-gpu={','.join(BEST_COLUMNS)} --format=csv"

_MAX_LINES = 10_000
_MAX_LINE = 20_000
"""Characters; every field nvidia-smi can be asked for comes to a third of that."""
_LOST = "Unable to determine the device handle"
_REMARK = "WARNING:"
_INDEX = re.compile(r"\d{1,4}", re.ASCII)
_MEBIBYTES = re.compile(r"(\d{1,9})(?: MiB)?", re.ASCII)
_NOT_TOLD = re.compile(r"\[.*\]|N/A|ERR!")
"""What stands for a value that is not supported, not permitted or not answered."""
_UNSUPPORTED = re.compile(r"\[?(?:N/A|Not Supported)\]?")
"""Of these, what stands for a value that this kind of device does not have."""

_MIG_MODE = re.compile(r"Enabled|Disabled|\[N/A\]")
_MEMORY_COLUMNS = ("memory.total", "memory.used", "memory.free")


class Gpu(msgspec.Struct, frozen=True):
    """One GPU: its index on the host, and memory in bytes (None: the column is not there).

    `defect` says why the GPU cannot be used, None if it can; `unsupported` which memory column
    the driver does not support on it, which is a defect unless the CPU uses the same memory.
    """

    index: int
    name: str
    total_bytes: int | None
    used_bytes: int | None
    free_bytes: int | None
    defect: str | None
    unsupported: str | None


class Printed(msgspec.Struct, frozen=True):
    """All that was printed: columns, the GPUs, sentences on lost GPUs, and other remarks."""

    columns: frozenset[str]
    gpus: list[Gpu]
    lost: list[str]
    remarks: list[str]


class _Row(msgspec.Struct, frozen=True):
    """A line of the table: its number in the body, its place and its cells by column."""

    line: int
    place: int
    cells: Mapping[str, str]


def parse(text: str) -> Printed:
    """Take the text apart.

    Raises:
        InvalidInput: It is not such a table of one host; the detail names the line.
    """
    if text.count("\n") > _MAX_LINES:
        raise InvalidInput.at("", f"More than {_MAX_LINES:,} lines are not the GPUs of one host.")
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in lines:
        if len(line) > _MAX_LINE:
            raise _wrong(number, f"more than {_MAX_LINE:,} characters are no GPU's row")
    lost = [line for _, line in lines if line.startswith(_LOST)]
    remarks = [line for _, line in lines if line.startswith(_REMARK)]
    columns, rows = _rows([each for each in lines if not each[1].startswith((_LOST, _REMARK))])
    gpus = [_gpu(row) for row in rows]
    _check_indexes(rows, gpus)
    return Printed(frozenset(columns), gpus, lost, remarks)


def _rows(lines: Sequence[tuple[int, str]]) -> tuple[list[str], list[_Row]]:
    """Split lines into cells by column, with or without a header."""
    if not lines:
        raise InvalidInput.at("", f"Nothing is listed: send what `{QUERY}` prints.")
    number, first = lines[0]
    header = [_without_unit(cell) for cell in _cells(first)]
    if not set(header) & {*USUAL_COLUMNS, *_MEMORY_COLUMNS}:
        header = _headerless(number, first)
    elif "name" not in header:
        raise _wrong(number, f"the header has no `name` column; use `{QUERY}`")
    else:
        lines = lines[1:]
    return header, [_row(header, place, line) for place, line in enumerate(lines)]


def _without_unit(column: str) -> str:
    return column.partition("[")[0].rstrip() if column.endswith("]") else column


def _headerless(number: int, line: str) -> list[str]:
    """Return the columns of a row of the usual ones, the last of which may say if MIG is on."""
    cells = _cells(line)
    if len(cells) == 1:
        raise InvalidInput.at("", f"nvidia-smi lists no GPU but says: {line[:200]!r}.")
    if len(cells) == len(USUAL_COLUMNS):
        return list(USUAL_COLUMNS)
    if len(cells) == len(BEST_COLUMNS) and _MIG_MODE.fullmatch(cells[-1]):
        return list(BEST_COLUMNS)
    raise _wrong(number, f"{len(cells)} columns without a header; keep it, or use `{QUERY}`")


def _row(header: Sequence[str], place: int, line: tuple[int, str]) -> _Row:
    number, text = line
    cells = _cells(text)
    if len(cells) != len(header):
        raise _wrong(number, f"{len(cells)} columns instead of {len(header)} in {text[:200]!r}")
    return _Row(number, place, dict(zip(header, cells, strict=True)))


def _cells(line: str) -> list[str]:
    """Split a line as nvidia-smi joined it: it quotes nothing, and no value has a comma."""
    return [cell.strip() for cell in line.split(",")]


def _gpu(row: _Row) -> Gpu:
    index = _index(row)
    total, used, free = (_memory_bytes(row, column) for column in _MEMORY_COLUMNS)
    for part in (used, free):
        if total is not None and part is not None and part > total:
            raise _wrong(row.line, "more memory is used or free than there is")
    defect, unsupported = _defect(row), _untold(row, _UNSUPPORTED)
    return Gpu(index, row.cells["name"], total, used, free, defect, unsupported)


def _index(row: _Row) -> int:
    """Return the GPU's index, or its place in the table where there is no such column."""
    cell = row.cells.get("index", str(row.place))
    if not _INDEX.fullmatch(cell):
        raise _wrong(row.line, f"the index {cell[:40]!r} is not a GPU's")
    return int(cell)


def _memory_bytes(row: _Row, column: str) -> int | None:
    """Return a memory column in bytes; None where it is absent or holds no value."""
    cell = row.cells.get(column)
    if cell is None or _NOT_TOLD.fullmatch(cell):
        return None
    match = _MEBIBYTES.fullmatch(cell)
    if match is None:
        raise _wrong(row.line, f"{column} is {cell[:40]!r}, not a number of MiB")
    return int(match[1]) << 20


def _defect(row: _Row) -> str | None:
    """Say why a GPU cannot be used: MIG, or memory that nvidia-smi cannot read just now."""
    if row.cells.get(MIG_COLUMN) == "Enabled":
        return "MIG is enabled, and its instances are not planned on"
    untold = _untold(row, _NOT_TOLD)
    return None if untold == _untold(row, _UNSUPPORTED) else untold


def _untold(row: _Row, pattern: re.Pattern[str]) -> str | None:
    """Name the first memory column that holds what `pattern` describes in place of a value."""
    for column in _MEMORY_COLUMNS:
        if pattern.fullmatch(row.cells.get(column, "")):
            return f"{column} reads {row.cells[column]}"
    return None


def _check_indexes(rows: Sequence[_Row], gpus: Sequence[Gpu]) -> None:
    """Refuse an index that comes twice: then the text is of several hosts or moments."""
    seen: set[int] = set()
    for row, gpu in zip(rows, gpus, strict=True):
        if gpu.index in seen:
            raise _wrong(row.line, f"GPU {gpu.index} comes twice; send one host at a time")
        seen.add(gpu.index)


def _wrong(line: int, detail: str) -> InvalidInput:
    return InvalidInput.at("", f"Line {line}: {detail}.")
