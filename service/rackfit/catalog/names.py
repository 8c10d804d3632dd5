"""Find the accelerator an operator means by whatever name it has where they look.

A name is folded: case and everything but letters and digits are dropped, so the label
`NVIDIA-A100-SXM4-80GB`, nvidia-smi's `NVIDIA A100-SXM4-80GB` and Slurm's
`nvidia_a100-sxm4-80gb` are one name. Brands in front may be left out. Nothing is guessed: a
name that could be several parts is refused with their list, unless the catalog says how it is
read (`Accelerator.shorthands`), and then the answer says so in a warning.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from rackfit.catalog.entries import Accelerator
from rackfit.errors import CatalogError, UnknownName, Violation, unknown_name

BRANDS: Final = ("nvidia", "geforce", "tesla", "quadro", "amd", "instinct", "radeon", "intel")
MAX_LISTED: Final = 6
"""How many parts the refusal of an ambiguous name lists."""

Reading = tuple[Accelerator, tuple[str, ...]]
"""An accelerator, and the warnings that come with reading a name as it."""

_TRADEMARKS = re.compile(r"\((?:r|tm)\)|[®™]", re.IGNORECASE)
_SEPARATORS = re.compile(r"[^0-9a-z]+")
_BRANDS_IN_FRONT = re.compile(f"^(?:{'|'.join(BRANDS)})+")
_WORD = re.compile(r"[a-z]+|[0-9]+")
# Appended by GPU feature discovery (-MIG-1g.10gb, -SHARED; its README) and by Slurm's NVML
# detection (_1g.10gb); compute slices put 1c. in front.
_MIG = re.compile(r"(?:^|[-_ ])(?:mig(?=[-_ ]|$)|(?:\d+c\.)?\d+g\.\d+gb)", re.IGNORECASE)
_SHARED = re.compile(r"[-_ ]shared$", re.IGNORECASE)


def fold(name: str) -> str:
    """Reduce `name` to its letters and digits in lower case, trademark signs dropped."""
    return _SEPARATORS.sub("", _TRADEMARKS.sub("", name).casefold())


def without_brands(name: str) -> str:
    """Fold `name` and drop the brands it begins with: `GeForce RTX 4090` is `rtx4090`."""
    return _BRANDS_IN_FRONT.sub("", fold(name))


class AcceleratorIndex:
    """Every name of some accelerators. Of entries with the same id the last one counts.

    Raises:
        CatalogError: Two accelerators claim the same name.
    """

    def __init__(self, accelerators: Iterable[Accelerator]) -> None:
        self._accelerators = list({fold(a.id): a for a in accelerators}.values())
        self._readings = _claimed(self._accelerators)
        self._readings |= _implied(self._accelerators, self._readings)

    def resolve(self, name: str, pointer: str = "") -> Reading:
        """Return the accelerator that answers to `name`, and warnings if that is a reading.

        Raises:
            UnknownName: At `pointer`. Nothing answers to `name`, or several parts do (the
                message lists them), or it names a part of a device or a share of one.
        """
        found = self._find(name)
        if found is None:
            raise UnknownName(self._refusal(name, pointer))
        return found

    def _find(self, name: str) -> Reading | None:
        return self._readings.get(fold(name)) or self._readings.get(without_brands(name))

    def _refusal(self, name: str, pointer: str) -> Violation:
        unknown = unknown_name(pointer, "accelerator", name, ())
        if reason := self._fraction(name) or self._several(name):
            return Violation(pointer, f"{unknown.detail} {reason}")
        return unknown_name(pointer, "accelerator", name, self._spellings())

    def _fraction(self, name: str) -> str | None:
        """Say what a MIG slice or a shared device is, if `name` is one's."""
        if match := _MIG.search(name):
            what = f"a MIG slice{self._of(name[: match.start()])}"
        elif match := _SHARED.search(name):
            what = f"a share{self._of(name[: match.start()])} under time-slicing or MPS"
        else:
            return None
        return f"It is {what}, not a whole device, and a plan needs whole devices."

    def _of(self, whole: str) -> str:
        """Name the whole device, where `whole` can only be one."""
        found = self._find(whole)
        return f" of {found[0].id}" if found and not found[1] else ""

    def _several(self, name: str) -> str | None:
        """List the accelerators whose ids hold every word of `name`, if there are several."""
        words = _words(name)
        ids = [a.id for a in self._accelerators if words and words <= _words(a.id)]
        if len(ids) <= 1:
            return None
        more = f" or {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
        return f"It could be {', '.join(ids[:MAX_LISTED])}{more}: name one of them."

    def _spellings(self) -> list[str]:
        return [spelling for a in self._accelerators for spelling, _ in _names(a)]


def _words(name: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_TRADEMARKS.sub(" ", name).casefold())).difference(BRANDS)


def _names(accelerator: Accelerator) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each name as written, with the warnings it brings."""
    for name in (accelerator.id, *accelerator.aliases):
        yield name, ()
    for name, sentence in accelerator.shorthands.items():
        yield name, (sentence,)


def _claimed(accelerators: Iterable[Accelerator]) -> dict[str, Reading]:
    """Map every name an entry states, folded, to its reading."""
    readings: dict[str, Reading] = {}
    for accelerator in accelerators:
        for name, warnings in _names(accelerator):
            owner, _ = readings.setdefault(fold(name), (accelerator, warnings))
            if owner is not accelerator:
                msg = f"accelerators {owner.id} and {accelerator.id} are both named {name!r}"
                raise CatalogError(msg)
    return readings


def _implied(
    accelerators: Iterable[Accelerator], claimed: dict[str, Reading]
) -> dict[str, Reading]:
    """Map ids and aliases without their brands to readings, where no other part has them."""
    owners: defaultdict[str, dict[str, Accelerator]] = defaultdict(dict)
    for accelerator in accelerators:
        for name in (accelerator.id, *accelerator.aliases):
            owners[without_brands(name)][accelerator.id] = accelerator
    return {
        name: (next(iter(parts.values())), ())
        for name, parts in owners.items()
        if len(parts) == 1 and name and name not in claimed
    }
