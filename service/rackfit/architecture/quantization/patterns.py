"""The modules a checkpoint's lists name: whole names, names with `*`, and `re:` expressions.

Lists name one layer and one expert at a time, our tensors all of them at once. So numbers are
folded on both sides: `model.layers.7.mlp.experts.3.w1` is `layers.#.mlp.experts.#.w1` in layer
7, and a list of five thousand names becomes a handful of patterns.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from rackfit.architecture.quantization.expressions import read_expression
from rackfit.errors import InvalidInput

MAX_LENGTH = 300
MAX_EXPRESSIONS = 128
MAX_COMPARISONS = 50_000  # patterns x layers: what asking for one tensor in every layer costs

# A number that is a whole segment of a path, or all of it before a star.
_NUMBER = re.compile(r"(?<![^.])(\d+)(?![^.*])", re.ASCII)
# Wrappers the same weights have under one class and lack under another.
_WRAPPERS = re.compile(r"^(?:(?:model|language_model|text_model|backbone|transformer)\.)+")

Layers = frozenset[int] | None
"""The layers a pattern is about; None where it names none, and so means all."""


class ModuleName(msgspec.Struct, frozen=True, gc=False):
    """A module's name as patterns see it: numbers folded, and the layer among them if any.

    `dotted` is the path between two dots, so that every segment of it stands between dots.
    """

    path: str
    dotted: str
    layer: int | None

    @classmethod
    def of(cls, tensor: str) -> "ModuleName":
        """Name the module of a tensor, whose `*` stand for numbers."""
        path, layer = _fold(_module(tensor).replace("*", "#"))
        return cls(path, f".{path}.", layer)


class Patterns(msgspec.Struct, frozen=True):
    """Patterns that mean the same layers.

    A name with `*` is kept as the `pieces` between the stars. It means every run of whole
    segments that fits, and so the modules below it too: `gate` is `mlp.gate` and never
    `gate_proj`, `self_attn` is `self_attn.q_proj` (vLLM, bitsandbytes.py; transformers,
    should_convert_module). `*` crosses dots (`fnmatch`).
    """

    pieces: tuple[tuple[str, ...], ...]
    expression: re.Pattern[str] | None

    def match(self, name: ModuleName) -> bool:
        """Tell whether one of the patterns means the module."""
        for pieces in self.pieces:
            if pieces[0] in name.dotted and (len(pieces) == 1 or _fits(pieces, name.dotted)):
                return True
        return self.expression is not None and self.expression.match(name.path) is not None


def compile_patterns(patterns: Iterable[tuple[str, str]], layers: int) -> Mapping[Layers, Patterns]:
    """Fold and group patterns by the layers they name.

    Args:
        patterns: each as (JSON Pointer, pattern).
        layers: how many layers there are, those of the draft included.

    Raises:
        InvalidInput: at the pattern's pointer, or for too many of them.
    """
    bare: dict[str, str] = {}
    names: dict[str, set[int] | None] = {}
    expressions: dict[str, set[int] | None] = {}
    for pointer, pattern in patterns:
        if len(pattern) > MAX_LENGTH:
            detail = f"A pattern holds at most {MAX_LENGTH} characters, not {len(pattern)}."
            raise InvalidInput.at(pointer, detail)
        if pattern.startswith("re:"):
            for numbers, body in read_expression(pattern[3:], layers, pointer):
                _join(expressions, body, numbers)
        else:
            path, layer = _fold(_module(pattern))
            name = bare.get(path)
            if name is None:
                name = bare[path] = _WRAPPERS.sub("", path)
            _join(names, name, None if layer is None else (layer,))
        comparisons = (len(names) + len(expressions)) * max(layers, 1)
        if comparisons > MAX_COMPARISONS or len(expressions) > MAX_EXPRESSIONS:
            raise InvalidInput.at(pointer, "There are too many different patterns.")
    return _grouped(_frozen(names), _frozen(expressions))


def _grouped(
    names: Mapping[str, Layers], expressions: Mapping[str, Layers]
) -> Mapping[Layers, Patterns]:
    return {
        layers: Patterns(
            pieces=tuple(_pieces(name) for name, found in names.items() if found == layers),
            expression=_either([body for body, found in expressions.items() if found == layers]),
        )
        for layers in dict.fromkeys((*names.values(), *expressions.values()))
    }


def _frozen(found: Mapping[str, set[int] | None]) -> Mapping[str, Layers]:
    return {key: None if layers is None else frozenset(layers) for key, layers in found.items()}


def _module(name: str) -> str:
    """Return the name of the module that a tensor's name begins with."""
    return name[:-7] if name.endswith(".weight") else name.removesuffix(".bias")


def _fold(path: str) -> tuple[str, int | None]:
    """Fold the numbers of a path; return it and the first number that counts no expert."""
    between = _NUMBER.split(path)  # text, number, text, ..., text
    for i in range(1, len(between), 2):
        if not between[i - 1].endswith("experts."):
            return "#".join(between[::2]), int(between[i])
    return "#".join(between[::2]), None


def _join(found: dict[str, set[int] | None], pattern: str, layers: Iterable[int] | None) -> None:
    known = found.setdefault(pattern, set())
    if layers is None:
        found[pattern] = None
    elif known is not None:
        known.update(layers)


def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(piece for piece in f".{pattern}.".split("*") if piece) or ("",)


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    position = 0
    for piece in pieces:
        position = text.find(piece, position)
        if position < 0:
            return False
        position += len(piece)
    return True


def _either(bodies: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{body})" for body in bodies)) if bodies else None
