"""Find the accelerator an operator means by whatever name it has where they look.

A name stands in the catalog as it is (an id or an alias), or it is a product's name with or
without form and capacity behind it (`spelling`). Several parts may go by it. Then the device's
memory decides, where it is told, else the catalog's precedence, and the answer says so in a
warning; where the catalog has none, the name is refused with the list. Nothing is guessed: a
capacity that no part of that name has is refused with those that there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from rackfit.catalog.entries import MEMORY_TOLERANCE, Accelerator
from rackfit.catalog.spelling import (
    Suffix,
    Suffixes,
    fold,
    fraction,
    is_untyped_gres,
    without_brands,
    without_gres,
    words,
)
from rackfit.errors import CatalogError, UnknownName, Violation, unknown_name

MAX_LISTED: Final = 6
"""How many parts the refusal of an ambiguous name lists."""

_CAPACITY_TOLERANCE = 1.03
"""How far above the capacity it is sold by a part may be named: 94 GB are 96 on the board."""

_GIB = 1 << 30
_UNTYPED = "A gres without a type says how many devices there are, not which."
_FORM_NAMES = {"pcie": "PCIe"}
_ANY_SXM = ("sxm", "nvlink")

Reading = tuple[Accelerator, tuple[str, ...]]
"""An accelerator, and the warnings that come with reading a name as it."""

Parts = tuple[Accelerator, ...]


class AcceleratorIndex:
    """Every name of some accelerators. Of entries with the same id the last one counts.

    Raises:
        CatalogError: Two accelerators claim the same name.
    """

    def __init__(self, accelerators: Iterable[Accelerator]) -> None:
        self._accelerators: Final = list({fold(a.id): a for a in accelerators}.values())
        self._claimed: Final = _claimed(self._accelerators)
        self._printed: Final = _grouped((fold(a.name), a) for a in self._accelerators)
        self._stems: Final = _grouped((stem, a) for a in self._accelerators for stem in _stems(a))
        self._suffixes: Final = Suffixes(a.generation for a in self._accelerators)

    def resolve(self, name: str, pointer: str = "", memory_bytes: int | None = None) -> Reading:
        """Return the accelerator that answers to `name`, and warnings if that is a reading.

        Args:
            name: As an operator sees it; a Slurm gres is read as its type.
            pointer: Where the name stands in the caller's request.
            memory_bytes: The device's total memory, where what prints the name prints it too.

        Raises:
            UnknownName: At `pointer`. Nothing answers to `name`, or several parts do (the
                message lists them), or it names a part of a device or a share of one.
        """
        spelled = without_gres(name)
        found = None if fraction(spelled) else self._find(spelled, memory_bytes)
        if found is None:
            raise UnknownName(self._refusal(spelled, pointer))
        return found

    def _find(self, name: str, memory_bytes: int | None = None) -> Reading | None:
        """Read `name` as one part, from its narrowest meaning to its widest."""
        folded = fold(name)
        claimed = self._claimed.get(folded) or self._claimed.get(without_brands(name))
        if memory_bytes is not None:
            printed = _nearest(self._printed.get(folded, ()), memory_bytes)
            found = _read(name, printed)
            found = found or _read(name, _nearest(self._meant(name), memory_bytes))
            if found:
                return found
        return (claimed, ()) if claimed else _read(name, self._meant(name))

    def _meant(self, name: str) -> Parts:
        """Return the parts that go by a product's name, form and capacity."""
        divisions = self._suffixes.divisions(name, self._stems)
        named = ((a, suffix) for stem, suffix in divisions for a in self._stems[stem])
        return tuple({a.id: a for a, suffix in named if _fits(a, suffix)}.values())

    def _refusal(self, name: str, pointer: str) -> Violation:
        unknown = unknown_name(pointer, "accelerator", name, ())
        reason = (
            (_UNTYPED if is_untyped_gres(name) else None)
            or self._fraction(name)
            or self._several(name)
            or self._misfit(name)
        )
        if reason:
            return Violation(pointer, f"{unknown.detail} {reason}")
        return unknown_name(pointer, "accelerator", name, self._spellings())

    def _fraction(self, name: str) -> str | None:
        """Say what a MIG slice or a shared device is, if `name` is one's."""
        found = fraction(name)
        if found is None:
            return None
        whole = self._find(found.whole)
        of = f" of {whole[0].id}" if whole and not whole[1] else ""
        return (
            f"It is {found.kind}{of}{found.how}, not a whole device, and a plan needs whole "
            "devices."
        )

    def _several(self, name: str) -> str | None:
        """List the accelerators that `name` may mean, or whose ids hold every word of it."""
        asked = words(name)
        held = [a for a in self._accelerators if asked and asked <= words(a.id)]
        ids = [a.id for a in self._meant(name) or held]
        if len(ids) <= 1:
            return None
        more = f" or {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
        return f"It could be {', '.join(ids[:MAX_LISTED])}{more}: name one of them."

    def _misfit(self, name: str) -> str | None:
        """Say which forms and capacities there are, if `name` has another."""
        divisions = self._suffixes.divisions(name, self._stems)
        named = {a.id: a for stem, _ in divisions for a in self._stems[stem]}
        return f"Of that name there is {_listed(list(named.values()))}." if named else None

    def _spellings(self) -> list[str]:
        return [s for a in self._accelerators for s in (a.id, a.product, *a.aliases) if s]


def _stems(accelerator: Accelerator) -> set[str]:
    """Return what a name of the accelerator may begin with, form and capacity left out."""
    names = (accelerator.id, accelerator.product, *accelerator.aliases)
    return {stem for stem in map(without_brands, names) if stem}


def _grouped(named: Iterable[tuple[str, Accelerator]]) -> dict[str, Parts]:
    groups: defaultdict[str, list[Accelerator]] = defaultdict(list)
    for name, accelerator in named:
        groups[name].append(accelerator)
    return {name: tuple(parts) for name, parts in groups.items() if name}


def _claimed(accelerators: Iterable[Accelerator]) -> dict[str, Accelerator]:
    """Map every id and alias, folded, to its accelerator."""
    owners: dict[str, Accelerator] = {}
    for accelerator in accelerators:
        for name in (accelerator.id, *accelerator.aliases):
            owner = owners.setdefault(fold(name), accelerator)
            if owner is not accelerator:
                msg = f"accelerators {owner.id} and {accelerator.id} are both named {name!r}"
                raise CatalogError(msg)
    return owners


def _fits(accelerator: Accelerator, suffix: Suffix) -> bool:
    """Tell whether a part has the form, the generation and the capacity of a name."""
    return (
        (suffix.form is None or _has_form(accelerator.form, suffix.form))
        and suffix.generation in (None, fold(accelerator.generation))
        and (suffix.capacity_gb is None or _has_capacity(accelerator, suffix.capacity_gb))
    )


def _has_form(form: str, wanted: str) -> bool:
    return form.startswith("sxm") if wanted in _ANY_SXM else form == wanted


def _has_capacity(accelerator: Accelerator, wanted_gb: int) -> bool:
    """Tell whether a capacity is one people give the part: from what is usable to what is sold."""
    usable = accelerator.usable_bytes // _GIB
    return usable <= wanted_gb <= _CAPACITY_TOLERANCE * capacity_gb(accelerator)


def capacity_gb(accelerator: Accelerator) -> int:
    """Return the capacity a part is sold by, or its memory in whole GiB where that is not told."""
    total_bytes = accelerator.printed_bytes
    return accelerator.capacity_gb or -(-total_bytes // _GIB)


def _nearest(parts: Parts, memory_bytes: int) -> Parts:
    """Return the parts whose total memory is nearest, none if that is not near."""
    distances = [_distance(part, memory_bytes) for part in parts]
    nearest = min(distances, default=1.0)
    if nearest > MEMORY_TOLERANCE:
        return ()
    return tuple(p for p, d in zip(parts, distances, strict=True) if d == nearest)


def _distance(accelerator: Accelerator, memory_bytes: int) -> float:
    expected = accelerator.printed_bytes
    return abs(memory_bytes - expected) / expected


def _read(name: str, parts: Parts) -> Reading | None:
    """Read `name` as the part of highest precedence; None where there is no such one."""
    first = sorted(parts, key=lambda a: -a.precedence)
    if not first:
        return None
    read, *others = first
    if not others:
        return read, ()
    if others[0].precedence == read.precedence:
        return None
    warning = (
        f"{name} is read as {_described(read)}; name {_listed(others)} if that is what you have."
    )
    return read, (warning,)


def _listed(parts: Sequence[Accelerator]) -> str:
    *most, last = map(_described, parts)
    return f"{', '.join(most)} or {last}" if most else last


def _described(accelerator: Accelerator) -> str:
    """Name a part with what tells it from the others of its product."""
    form = _FORM_NAMES.get(accelerator.form, accelerator.form.upper())
    capacity = f"{capacity_gb(accelerator)} GB"
    return f"{accelerator.id} ({', '.join(filter(None, (form, capacity)))})"
