"""Rejected splits as text: what was tried, why not, in numbers, and what would do."""

from collections.abc import Sequence

from rackfit.api.text.figures import numbers, split_label
from rackfit.api.text.table import Lines, paragraph, section
from rackfit.engines.rejection import Fix, Rejection

Reason = tuple[str | None, str, tuple[tuple[str, float], ...], str | None]
"""What is said of a rejection, whichever split it is about."""


def rejections(title: str, rejected: Sequence[Rejection]) -> Lines:
    """A few lines a rejection, under a title; splits refused for the same figures share them."""
    alike: dict[Reason, list[Rejection]] = {}
    for rejection in rejected:
        alike.setdefault(_reason(rejection), []).append(rejection)
    return section(title, (line for refused in alike.values() for line in _rejection(refused)))


def _reason(rejection: Rejection) -> Reason:
    fix = rejection.nearest_fix
    figures = tuple(rejection.numbers.items())
    return (rejection.accelerator, rejection.detail, figures, fix.change if fix else None)


def _rejection(alike: Sequence[Rejection]) -> Lines:
    rejection = alike[0]
    on = f" on {rejection.accelerator}" if rejection.accelerator else ""
    figures = numbers(list(rejection.numbers.items()))
    labels = ", ".join(split_label(one.split) for one in alike)
    others = sum(one.alike for one in alike) - len(alike)
    labels += f" and {others:,} more" if others else ""
    return [
        *paragraph(f"{labels}{on}: {rejection.code}", 1),
        *paragraph(rejection.detail, 2),
        *(paragraph(f"({figures})", 2) if figures else ()),
        *(paragraph(_fix(rejection.nearest_fix), 2) if rejection.nearest_fix else ()),
    ]


def _fix(fix: Fix) -> str:
    tried = "nearest fix, tried and fits" if fix.verified else "nearest change, not enough alone"
    return f"{tried}: {fix.change}. {fix.detail}"
