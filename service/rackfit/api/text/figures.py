"""Figures as people read them: thousands apart, sizes in GiB, ranges, splits in short."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from rackfit.engines.split import Split
from rackfit.memory.question import gib

NONE = "-"


def count(number: int | None) -> str:
    """A number of things; a dash where there is none."""
    return NONE if number is None else f"{number:,}"


def things(number: int, noun: str) -> str:
    """Some of a thing: `1 node`, `1,200 nodes`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def billions(parameters: int) -> str:
    """A number of parameters in billions, as cards print them."""
    return f"{parameters / 1e9:,.1f}"


def yes_or_no(*, value: bool) -> str:
    """A truth."""
    return "yes" if value else "no"


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as a range list: `0-3,8`."""
    steps = enumerate(sorted(numbers))
    runs = [[n for _, n in run] for _, run in groupby(steps, lambda step: step[1] - step[0])]
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def split_label(split: Split) -> str:
    """A split in short, degrees of one left out: `TP8 PP4 EP8 x2`."""
    degrees = {
        "TP": split.tensor,
        "PP": split.pipeline,
        "DP": split.data,
        "CP": split.context,
        "DCP": split.decode_context,
        "EP": split.expert,
    }
    named = [f"{name}{degree}" for name, degree in degrees.items() if degree > 1] or ["TP1"]
    return " ".join([*named, f"x{split.replicas}"] if split.replicas > 1 else named)


def numbers(figures: Sequence[tuple[str, float]]) -> str:
    """Named numbers in a line; those named `*_bytes` as GiB."""
    return ", ".join(_number(name, value) for name, value in figures)


def _number(name: str, value: float) -> str:
    if name.endswith("_bytes") and value:
        return f"{name.removesuffix('_bytes').replace('_', ' ')} {gib(int(value))} GiB"
    return f"{name.removesuffix('_bytes').replace('_', ' ')} {value:,}"
