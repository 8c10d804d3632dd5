r"""Regular expressions that callers send, written anew so that they cannot run away.

compressed-tensors and GPTQModel name modules by Python expressions (`re:.*mlp\.gate$`), and a
config is a caller's data: `(a+)+$` must not hold a worker for minutes. So a subset is read, and
put in a form whose cost is bounded:

- groups and optional parts are multiplied out, and groups may not repeat, so nothing nests;
- what stands between two `.*` is searched once, atomically (as `fnmatch` does it);
- besides `.*` and numbers there may be one repetition.

Numbers stand for layers and experts, for which the names compared hold `#`. A number between
dots is cut out of the expression and answered with the layers it admits.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from rackfit.errors import InvalidInput

MAX_ALTERNATIVES = 64

SUPPORTED = (
    r"Supported are text, '.', '\d', '\w', '[^.]', classes of letters and digits, each with '*',"
    " '+', '?' or '{m,n}', groups of alternatives that do not repeat, '^' and '$'."
)
_TOKEN = re.compile(
    r"""
    (?P<open> \( (?:\?:)? )
  | (?P<close> \) \?? )
  | (?P<bar> \| )
  | (?P<edge> [\^$] )
  | (?P<atom> \\[dw] | \\[^\w\s] | \[\^\\?\.\] | \[(?:\\[dw]|\w-\w|\w)+\] | [\w\-:/.] )
    (?P<repeat> (?: [*+?] | \{\d{1,2}(?:,\d{0,2})?\} )? ) \??
    """,
    re.VERBOSE | re.ASCII,
)
_DIGITS = re.compile(r"\\d|\d|\[(?:\\d|\d-\d|\d)+\]", re.ASCII)


class Token(msgspec.Struct, frozen=True, gc=False):
    """One atom of an expression and how often it stands."""

    atom: str
    repeat: str = ""

    def __str__(self) -> str:
        return f"{self.atom}{self.repeat}"

    @property
    def gap(self) -> bool:
        """Whether this skips anything: `.*` or `.+`."""
        return self.atom == "." and self.repeat in {"*", "+"}

    @property
    def digits(self) -> bool:
        """Whether this matches nothing but digits."""
        return _DIGITS.fullmatch(self.atom) is not None

    @property
    def dot(self) -> bool:
        """Whether this is the dot between two segments, escaped or not."""
        return self.atom in {".", r"\."} and not self.repeat

    @property
    def safe(self) -> str:
        """What to compile: a class that takes a segment takes the `#` of a number too."""
        if self.atom == r"\w":
            return rf"[\w#]{self.repeat}"
        if self.atom[0] == "[" and self.atom[1] != "^":
            return f"[#{self.atom[1:]}{self.repeat}"
        return str(self)


Tokens = tuple[Token, ...]


def read_expression(
    source: str, layers: int, pointer: str
) -> Iterator[tuple[frozenset[int] | None, str]]:
    """Yield, for each alternative of an expression, the layers it admits and a safe equivalent.

    Args:
        source: the expression as sent; as in `re.match` it need not reach the end of a name.
        layers: how many layers there are, those of the draft included.
        pointer: where the expression stands in the caller's request (JSON Pointer).

    Raises:
        InvalidInput: it is no expression, or is one that could run away.
    """
    try:
        for alternative in _alternatives(source):
            numbers, tokens = _cut_numbers(alternative, layers)
            body = _atomic(tokens)
            re.compile(body)
            yield numbers, body
    except (ValueError, re.error) as error:
        detail = f"The expression {source!r} is not read: {error}. {SUPPORTED}"
        raise InvalidInput.at(pointer, detail) from None


class _Groups:
    """Multiplies groups out while an expression is read from left to right."""

    def __init__(self) -> None:
        self._outer: list[tuple[list[Tokens], list[Tokens]]] = []
        self._ended: list[Tokens] = []
        self._current: list[Tokens] = [()]

    def bar(self) -> None:
        self._ended += self._current
        self._current = [()]

    def open(self) -> None:
        self._outer.append((self._ended, self._current))
        self._ended, self._current = [], [()]

    def close(self, *, optional: bool) -> None:
        if not self._outer:
            msg = "a ')' closes nothing"
            raise ValueError(msg)
        inner = [*self._ended, *self._current]
        self._ended, self._current = self._outer.pop()
        self.add(inner, optional=optional)

    def add(self, choices: list[Tokens], *, optional: bool) -> None:
        choices = [*choices, ()] if optional else choices
        if len(self._current) * len(choices) + len(self._ended) > MAX_ALTERNATIVES:
            msg = f"it stands for more than {MAX_ALTERNATIVES} alternatives"
            raise ValueError(msg)
        self._current = [tokens + more for tokens in self._current for more in choices]

    def finish(self) -> list[Tokens]:
        if self._outer:
            msg = "a '(' is not closed"
            raise ValueError(msg)
        self.bar()
        return self._ended


def _alternatives(source: str) -> list[Tokens]:
    groups = _Groups()
    position = 0
    while position < len(source):
        token = _TOKEN.match(source, position)
        if token is None:
            msg = f"{source[position]!r} at position {position}"
            raise ValueError(msg)
        position = token.end()
        if token["open"]:
            groups.open()
        elif token["close"]:
            groups.close(optional=token["close"] == ")?")
        elif token["bar"]:
            groups.bar()
        elif token["edge"]:
            groups.add([(Token(token["edge"]),)], optional=False)
        else:
            repeat = token["repeat"].replace("?", "")
            groups.add([(Token(token["atom"], repeat),)], optional=token["repeat"] == "?")
    return groups.finish()


def _cut_numbers(tokens: Tokens, layers: int) -> tuple[frozenset[int] | None, Tokens]:
    """Replace numbers between dots by `#`; return the layers the first of them admits."""
    admitted: frozenset[int] | None = None
    cut: list[Token] = []
    start = 0
    while start < len(tokens):
        end = start
        while end < len(tokens) and tokens[end].digits:
            end += 1
        if end > start and _between_dots(tokens, start, end):
            if Token("#") not in cut and not _text(cut).endswith("experts."):
                admitted = _admitted(tokens[start:end], layers)
            cut.append(Token("#"))
        else:
            end = max(end, start + 1)
            cut += tokens[start:end]
        start = end
    return admitted, tuple(cut)


def _between_dots(tokens: Tokens, start: int, end: int) -> bool:
    sides = [*tokens[max(start - 1, 0) : start], *tokens[end : end + 1]]
    if not all(side.dot or side.gap or side.atom in {"^", "$"} for side in sides):
        return False
    if any(side.gap for side in sides):
        msg = "a number must stand between dots, not beside '.*'"
        raise ValueError(msg)
    return True


def _text(tokens: Iterable[Token]) -> str:
    return "".join("." if token.dot else str(token) for token in tokens)


def _admitted(digits: Tokens, layers: int) -> frozenset[int] | None:
    """Return the layers a number admits; None for all of them."""
    if sum(bool(token.repeat) for token in digits) > 1:
        msg = "it repeats within a number more than once"
        raise ValueError(msg)
    number = re.compile(_text(digits), re.ASCII)
    admitted = frozenset(n for n in range(layers) if number.fullmatch(str(n)))
    return None if len(admitted) == layers else admitted


def _atomic(tokens: Tokens) -> str:
    """Write `a.*b.*c` as `a(?>.*?b).*c`: each part is searched for once."""
    if sum(bool(token.repeat) and not token.gap for token in tokens) > 1:
        msg = "it repeats something else than '.' more than once"
        raise ValueError(msg)
    parts: list[str] = [""]
    for token in tokens:
        if token.gap:
            parts.append(token.repeat)
        else:
            parts[-1] += token.safe
    first, *rest = parts
    middle = "".join(f"(?>.{part[0]}?{part[1:]})" for part in rest[:-1])
    return first + middle + "".join(f".{part}" for part in rest[-1:])
