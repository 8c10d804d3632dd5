"""What an engine takes of a rank besides weights and cache, whichever layers its stage has."""

from itertools import product

from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits, total
from rackfit.lazy import cached_property


class Taken:
    """Bytes of activations and of the engine itself on ranks of a split, each worked out once."""

    def __init__(self, model: ServedModel, engine: Engine, split: Split, limits: Limits) -> None:
        self._model = model
        self._engine = engine
        self._split = split
        self._limits = limits
        self._activations: dict[tuple[bool, bool], int] = {}

    @cached_property
    def overhead_bytes(self) -> int:
        """What the engine holds besides weights, cache and activations."""
        return total(self._engine.overhead_terms(self._model, self._split, self._limits))

    def activation_bytes(self, *, first: bool, last: bool) -> int:
        """Peak of activations on a stage, `first` and `last` telling whether it is at an end."""
        ends = first, last
        if ends not in self._activations:
            terms = self._engine.activation_terms(
                self._model, self._split, self._limits, first=first, last=last
            )
            self._activations[ends] = total(terms)
        return self._activations[ends]

    @cached_property
    def least_bytes(self) -> int:
        """What is taken of any rank at least, whichever stage it is in."""
        ends = product((False, True), repeat=2)
        return self.overhead_bytes + min(
            self.activation_bytes(first=first, last=last) for first, last in ends
        )
