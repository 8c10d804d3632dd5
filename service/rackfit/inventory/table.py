"""Reads a table of nodes as people keep them: comma-separated, with a line that names the columns.

`name`, `accelerator` and `count` are needed; `free_bytes` (one number a device, with `;` between
them), `domain`, `rack` and `fabric` may be there.
"""

import csv
import re
from collections.abc import Mapping, Sequence

from rackfit.catalog.entries import Accelerator
from rackfit.errors import InvalidInput
from rackfit.inventory.model import Inventory, Node, Skipped
from rackfit.inventory.reading import MAX_DEVICES, MAX_NAME, Products, Resolve, check_count

NEEDED = ("name", "accelerator", "count")
OTHERS = ("free_bytes", "domain", "rack", "fabric")
_COUNT = re.compile(r"\d{1,4}", re.ASCII)
_BYTES = re.compile(r"\d{1,15}", re.ASCII)

MAX_LINE = 20_000
"""Characters of a line: there is room for the memory of as many devices as a node may have."""

Row = Mapping[str, str]


def read(text: str, resolve: Resolve, node: str | None) -> Inventory:
    """Read a table; see `normalize` for the arguments and errors."""
    if node is not None:
        raise InvalidInput.at("?node", "The table names its nodes itself: leave `node` out.")
    products = Products(resolve)
    found = [_read(line, row, products) for line, row in _rows(text)]
    nodes = [one for one in found if isinstance(one, Node)]
    return Inventory(
        nodes=nodes,
        skipped=[one for one in found if isinstance(one, Skipped)],
        warnings=products.warnings,
    )


def _rows(text: str) -> list[tuple[int, Row]]:
    """Return the rows by column, each with the number of its line."""
    printed = text.removeprefix("\ufeff").split("\n")
    check_count(sum(map(bool, map(str.strip, printed))) - 1)
    if longest := next((n for n, line in enumerate(printed, 1) if len(line) > MAX_LINE), 0):
        raise InvalidInput.at("", f"Line {longest}: more than {MAX_LINE:,} characters are no node.")
    reader = csv.reader((f"{line}\n" for line in printed), skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except csv.Error as error:
        raise InvalidInput.at("", f"Line {reader.line_num}: {error}.") from None
    columns = _columns(lines[0][1] if lines else [])
    for line, cells in lines[1:]:
        if len(cells) != len(columns):
            detail = f"Line {line}: {len(cells)} cells for {len(columns)} columns."
            raise InvalidInput.at("", detail)
    rows: list[tuple[int, Row]] = [
        (line, dict(zip(columns, cells, strict=True))) for line, cells in lines[1:]
    ]
    seen: set[str] = set()
    for line, row in rows:
        if row["name"] in seen:
            raise InvalidInput.at("", f"Line {line}: the node {row['name']!r:.80} is there twice.")
        seen.add(row["name"])
    return rows


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.lower() for name in header]
    missing = [name for name in NEEDED if name not in columns]
    strange = [name for name in columns if name not in (*NEEDED, *OTHERS)]
    if missing:
        detail = f"The first line names the columns; {', '.join(missing)} must be among them."
        raise InvalidInput.at("", detail)
    if strange or len(set(columns)) < len(columns):
        known = ", ".join((*NEEDED, *OTHERS))
        detail = f"Columns are {known}, each once; {', '.join(strange)[:80] or 'one'} is not."
        raise InvalidInput.at("", detail)
    return columns


def _read(line: int, row: Row, products: Products) -> Node | Skipped:
    """Make a row a node."""
    name = row["name"]
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput.at("", f"Line {line}: a name has 1 to {MAX_NAME} characters.")
    count = int(row["count"]) if _COUNT.fullmatch(row["count"]) else 0
    if not 0 < count <= MAX_DEVICES:
        raise InvalidInput.at("", f"Line {line}: count is a number from 1 to {MAX_DEVICES:,}.")
    accelerator = products.find(row["accelerator"])
    if isinstance(accelerator, str):
        return Skipped(name, accelerator)
    labels = {column: row.get(column) or None for column in ("domain", "rack", "fabric")}
    for column, label in labels.items():
        if label and (len(label) > MAX_NAME or not label.isprintable()):
            raise InvalidInput.at("", f"Line {line}: {column} has up to {MAX_NAME} characters.")
    return Node(
        name=name,
        accelerator=accelerator.id,
        count=count,
        free_bytes=_free_bytes(line, row.get("free_bytes", ""), count, accelerator),
        **labels,
    )


def _free_bytes(line: int, text: str, count: int, accelerator: Accelerator) -> list[int] | None:
    """Return the free bytes of each device; one number stands for all of them."""
    if not text:
        return None
    given = [part.strip() for part in text.split(";")]
    if not all(_BYTES.fullmatch(part) for part in given) or len(given) not in {1, count}:
        detail = f"Line {line}: free_bytes is one whole number, or {count} with `;` between them."
        raise InvalidInput.at("", detail)
    most = accelerator.printed_bytes
    if any(int(part) > most for part in given):
        raise InvalidInput.at("", f"Line {line}: {accelerator.id} has {most:,} bytes at most.")
    free = [int(part) for part in given]
    return free * count if len(free) == 1 else free
