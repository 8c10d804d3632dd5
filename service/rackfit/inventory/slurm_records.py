"""Takes apart what `scontrol show nodes` prints: a record a node, and what its GRES say."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import msgspec
from msgspec.json import Decoder

from rackfit.errors import InvalidInput
from rackfit.inventory.reading import MAX_DEVICES, MAX_NAME, check_count, decode_json

COMMAND = "scontrol show nodes --detail"
MAX_TOLD = 100_000
"""Characters that Slurm tells of one node; usual are one or two thousand."""
MAX_KINDS = 32
"""Kinds of GRES of one node."""

_RECORD = re.compile(r"^[ \t]*NodeName=", re.MULTILINE)
_FIELDS = {
    field: re.compile(rf"(?:^|\s){name}=(\S*)")
    for field, name in {
        "state": "State",
        "gres": "Gres",
        "used": "GresUsed",
        "allocated": "AllocTRES",
    }.items()
}
_GRES = re.compile(
    r"(?P<name>[A-Za-z_]+)(?::(?P<type>[A-Za-z_][^:(),\s]*))?(?::(?P<count>\d{1,9}))?"
    r"(?:\((?P<about>[^()]*)\))?"
)
_TRES = re.compile(r"gres/gpu(?::(?P<type>[^=,]+))?=(?P<count>\d{1,9})")
_NUMBERS = re.compile(r"IDX:(?P<ranges>[0-9,-]+)")
_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One node as Slurm tells of it; `pointer` is where it stands in the body.

    `used` is what `--detail` says of its GRES, `allocated` the TRES that jobs hold.
    """

    name: str
    pointer: str
    state: str
    gres: str
    used: str
    allocated: str


class Gres(msgspec.Struct, frozen=True):
    """Devices of one kind: `gpu:h100:8` has a type, `gpu:8` none; `about` is what stands behind."""

    name: str
    type: str | None
    count: int
    about: str = ""


class Held(msgspec.Struct, frozen=True):
    """What jobs hold of a kind of device: how many, and their numbers (None: not told)."""

    count: int
    numbers: frozenset[int] | None


class _Object(msgspec.Struct, frozen=True):
    """A node of `--json`; releases differ in what they call the state."""

    name: str
    gres: str = ""
    gres_used: str = ""
    state: list[str] | str = ""
    tres_used: str | None = ""


class _Listing(msgspec.Struct, frozen=True):
    nodes: list[_Object]


_LISTING: Decoder[Any] = Decoder(_Listing)


def parse(text: str) -> list[Record]:
    """Read all records.

    Raises:
        InvalidInput: it is no such text; the detail says what is.
    """
    is_json = text.lstrip().startswith("{")
    records = _of_json(text) if is_json else [_record(told) for told in _apart(text)]
    if not records:
        raise InvalidInput.at("", f"No node is listed: send what `{COMMAND}` prints.")
    seen: set[str] = set()
    for record in records:
        if not 0 < len(record.name) <= MAX_NAME or not record.name.isprintable():
            raise InvalidInput.at(record.pointer, f"A node's name has 1 to {MAX_NAME} characters.")
        if len(record.gres) + len(record.used) + len(record.allocated) > MAX_TOLD:
            raise InvalidInput.at(record.pointer, _too_long(record.name))
        if record.name in seen:
            raise InvalidInput.at(record.pointer, f"The node {record.name!r} is listed twice.")
        seen.add(record.name)
    return records


def _apart(text: str) -> list[str]:
    """Take a text apart into what is told of each node."""
    begins = [match.start() for match in _RECORD.finditer(text)]
    check_count(len(begins))
    return [text[start:end].strip() for start, end in pairwise([*begins, len(text)])]


def _record(told: str) -> Record:
    name = told[len("NodeName=") :]
    if len(told) > MAX_TOLD:
        raise InvalidInput.at("", _too_long(name[:MAX_NAME]))
    found = {field: pattern.search(told) for field, pattern in _FIELDS.items()}
    return Record(
        name=name.split(None, 1)[0] if name[:1].strip() else "",
        pointer="",
        **{field: match[1] if match else "" for field, match in found.items()},
    )


def _too_long(name: str) -> str:
    return f"More than {MAX_TOLD:,} characters about the node {name!r:.80} are not Slurm's."


def _of_json(text: str) -> list[Record]:
    listing: _Listing = decode_json(_LISTING, text)
    check_count(len(listing.nodes))
    return [
        Record(
            name=node.name,
            pointer=f"/nodes/{number}",
            state=node.state if isinstance(node.state, str) else "+".join(node.state),
            gres=node.gres,
            used=node.gres_used,
            allocated=node.tres_used or "",
        )
        for number, node in enumerate(listing.nodes)
    ]


def gres(text: str) -> Sequence[Gres]:
    """Read a list of GRES: `gpu:h100:8(S:0-1),nic:2`; one without a number is one device."""
    return [
        Gres(
            name=match["name"].lower(),
            type=match["type"],
            count=int(match["count"] or 1),
            about=match["about"] or "",
        )
        for match in _GRES.finditer("" if text == "(null)" else text)
    ]


class Usage(msgspec.Struct, frozen=True):
    """What jobs hold of a node: of its GRES, and of its TRES by their type."""

    kinds: Sequence[Gres]
    counts: Mapping[str | None, int]

    @classmethod
    def of(cls, record: Record) -> "Usage":
        """Read it, once for all kinds of devices of a node."""
        counts = {m["type"]: int(m["count"]) for m in _TRES.finditer(record.allocated)}
        return cls(gres(record.used), counts)

    def held(self, one: Gres) -> Held:
        """Return what jobs hold of a kind of device."""
        for used in self.kinds:
            if used.name == one.name and used.type in {one.type, None}:
                return Held(used.count, _numbers(used))
        count = self.counts.get(one.type, self.counts.get(None, 0)) if one.name == "gpu" else 0
        return Held(count, None if count else frozenset())


def _numbers(used: Gres) -> frozenset[int] | None:
    if not used.count:
        return frozenset()
    found = _NUMBERS.search(used.about)
    pairs = _RANGE.findall(found["ranges"]) if found else []
    ranges = [range(int(low), int(high or low) + 1) for low, high in pairs]
    if used.count > MAX_DEVICES or sum(map(len, ranges)) != used.count:
        return None
    numbers = frozenset(chain.from_iterable(ranges))
    return numbers if len(numbers) == used.count else None
