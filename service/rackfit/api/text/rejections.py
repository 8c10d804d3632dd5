"""Rejected splits as text: what was tried, why not, in numbers, and what would do."""

from collections.abc import Sequence

from rackfit.api.text.figures import numbers, split_label
from rackfit.api.text.table import Lines, paragraph, section
from rackfit.engines.rejection import Fix, Rejection


def rejections(title: str, rejected: Sequence[Rejection]) -> Lines:
    """A few lines a rejection, under a title."""
    return section(title, (line for rejection in rejected for line in _rejection(rejection)))


def _rejection(rejection: Rejection) -> Lines:
    on = f" on {rejection.accelerator}" if rejection.accelerator else ""
    figures = numbers(list(rejection.numbers.items()))
    return [
        *paragraph(f"{split_label(rejection.split)}{on}: {rejection.code}", 1),
        *paragraph(rejection.detail, 2),
        *(paragraph(f"({figures})", 2) if figures else ()),
        *(paragraph(_fix(rejection.nearest_fix), 2) if rejection.nearest_fix else ()),
    ]


def _fix(fix: Fix) -> str:
    tried = "nearest fix, tried and fits" if fix.verified else "nearest change, not enough alone"
    return f"{tried}: {fix.change}. {fix.detail}"
