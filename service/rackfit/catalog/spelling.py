"""What the pieces of an accelerator's name say, without knowing which accelerators there are.

A name is folded: case and everything but letters and digits are dropped, so the label
`NVIDIA-A100-SXM4-80GB`, nvidia-smi's `NVIDIA A100-SXM4-80GB` and Slurm's
`nvidia_a100-sxm4-80gb` are one name. Brands in front may be left out, and behind a product's
name may stand how it is built in, its capacity and its generation: `h200-sxm-141gb`.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

BRANDS: Final = (
    *("nvidia", "geforce", "tesla", "quadro"),
    *("amd", "instinct", "radeon"),
    *("intel", "habana"),
)

LONGEST = 253
"""Characters of the longest name that is worth dividing: a node's label has fewer."""

MAX_TOKENS = 4
"""How many pieces may stand behind a product's name: form, generation, capacity and one more."""

_TRADEMARKS = re.compile(r"\((?:r|tm)\)|[®™]", re.IGNORECASE)
_SEPARATORS = re.compile(r"[^0-9a-z]+")
_BRANDS_IN_FRONT = re.compile(f"^(?:{'|'.join(BRANDS)})+")
_WORD = re.compile(r"[a-z]+|[0-9]+")
# sinfo and scontrol print gpu:h100:8(S:0-1), sacct gres/gpu:h100=8, squeue gres:gpu:h100:2
# (Slurm's gres.conf, sinfo and tres pages).
_GRES = re.compile(
    r"(?:gres[:/=])?gpu:(?P<type>(?=[^:]*[a-z])[^:=(),]+)(?:[:=](?:no_consume:)?\d+[kmg]?)?(?:\([^()]*\))?",
    re.IGNORECASE,
)
_UNTYPED_GRES = re.compile(r"(?:gres[:/=])?gpu(?:[:=]\d+)?(?:\([^()]*\))?", re.IGNORECASE)
# Appended by GPU feature discovery (-MIG-1g.10gb, -SHARED; its README) and by Slurm's NVML
# detection (_1g.10gb); compute slices put 1c. in front.
_MIG = re.compile(r"(?:^|[-_ ])(?:mig(?=[-_ ]|$)|(?:\d+c\.)?\d+g\.\d+gb)", re.IGNORECASE)
_SHARED = re.compile(r"[-_ ]shared$", re.IGNORECASE)


class Suffix(msgspec.Struct, frozen=True):
    """What stands behind a product's name: form, generation, capacity in GB; None if absent."""

    form: str | None
    generation: str | None
    capacity_gb: int | None


class Fraction(msgspec.Struct, frozen=True):
    """What a name of less than a device says: the kind of fraction, and of which device."""

    kind: str
    whole: str
    how: str


def fold(name: str) -> str:
    """Reduce `name` to its letters and digits in lower case, trademark signs dropped."""
    return _SEPARATORS.sub("", _TRADEMARKS.sub("", name).casefold())


def without_brands(name: str) -> str:
    """Fold `name` and drop the brands it begins with: `GeForce RTX 4090` is `rtx4090`."""
    return _BRANDS_IN_FRONT.sub("", fold(name))


def words(name: str) -> frozenset[str]:
    """Return the runs of letters and of digits in `name`, brands left out."""
    return frozenset(_WORD.findall(_TRADEMARKS.sub(" ", name).casefold())).difference(BRANDS)


def without_gres(name: str) -> str:
    """Return the type that a Slurm gres names: `gpu:h100:8(S:0-1)` is `h100`."""
    match = _GRES.fullmatch(name.strip())
    return match["type"] if match else name


def is_untyped_gres(name: str) -> bool:
    """Tell whether `name` is a Slurm gres that only counts devices: `gpu:8`."""
    return _UNTYPED_GRES.fullmatch(name.strip()) is not None


def fraction(name: str) -> Fraction | None:
    """Tell whether `name` is that of a MIG slice or of a shared device."""
    if match := _MIG.search(name):
        return Fraction("a MIG slice", name[: match.start()], "")
    if match := _SHARED.search(name):
        return Fraction("a share", name[: match.start()], " under time-slicing or MPS")
    return None


class Suffixes:
    """Divides names into what they begin with and a `Suffix`."""

    def __init__(self, generations: Iterable[str]) -> None:
        words = "|".join(sorted(filter(None, map(fold, generations)))) or "(?!)"
        # A run of digits without a unit is a capacity too (h100-80), but never one digit.
        token = (
            r"(?P<form>sxm[2-6]?|pcie|oam|nvlink|nvl)"
            rf"|(?P<generation>{words})"
            r"|(?P<capacity>[1-9]\d{1,2})(?:gib|gb|g)?"
        )
        # Bounded, or a long run of digits could be cut up in ever more ways.
        self._suffix: Final = re.compile(f"(?:-?(?:{token})){{0,{MAX_TOKENS}}}", re.ASCII)

    def divisions(self, name: str, stems: Collection[str]) -> Iterator[tuple[str, Suffix]]:
        """Divide `name` after each of `stems` (folded, without brands) it begins with.

        Yields:
            The stem and the suffix, longest stem first, where nothing else stands behind it.
        """
        if len(name) > LONGEST:
            return
        spelled = _SEPARATORS.sub("-", _TRADEMARKS.sub("", name).casefold()).strip("-")
        for end in range(len(spelled), 0, -1):
            match = self._suffix.fullmatch(spelled, end)
            stem = without_brands(spelled[:end]) if match and spelled[end - 1] != "-" else ""
            if match and stem in stems:
                capacity = match["capacity"]
                form, generation = match["form"], match["generation"]
                yield stem, Suffix(form, generation, int(capacity) if capacity else None)
