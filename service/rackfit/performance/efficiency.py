"""Which fitted efficiency applies to an engine on a generation of accelerators."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import msgspec

from rackfit.catalog.entries import Efficiency

Phase = Literal["prefill", "decode"]


class Applied(msgspec.Struct, frozen=True, gc=False):
    """An efficiency as it is applied to one phase, and where it comes from.

    Seconds are the modelled ones over `factor`; the band reaches from `low` to `high` times
    those.
    """

    factor: float
    low: float
    high: float
    basis: str


UNFITTED = Applied(1.0, 1.0, 1.0, "no efficiency is known: the roofline alone")


def applied(fitted: Sequence[Efficiency], engine: str, generation: str, phase: Phase) -> Applied:
    """The efficiency of an engine on a generation, or the nearest there is.

    Without data for the pair: the mean of the same engine's on other generations, else of other
    engines' on the same generation, else of all; the band then spans all of theirs.
    """
    phased = [e for e in fitted if e.phase == phase]
    of_engine = [e for e in phased if e.engine == engine]
    of_generation = [e for e in phased if e.generation == generation]
    exact = [e for e in of_engine if e.generation == generation]
    nearest = exact or of_engine or of_generation or phased
    if not nearest:
        return UNFITTED
    factor = prod(e.factor for e in nearest) ** (1 / len(nearest))
    return Applied(
        factor=factor,
        low=min(e.low * factor / e.factor for e in nearest),
        high=max(e.high * factor / e.factor for e in nearest),
        basis=_basis(nearest, engine, generation, exact=bool(exact)),
    )


def _basis(nearest: list[Efficiency], engine: str, generation: str, *, exact: bool) -> str:
    if exact:
        return f"fitted on {nearest[0].points} measured points of {engine} on {generation}"
    pairs = ", ".join(f"{e.engine} on {e.generation}" for e in nearest)
    return f"no data for {engine} on {generation or 'this generation'}: mean of {pairs}"
