"""A quantization section of a config, decoded into typed fields with pointers for errors."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from rackfit.architecture.quantization.rules import Depth, Rule
from rackfit.errors import InvalidInput

Fields = TypeVar("Fields")

Stored = tuple[tuple[Rule, ...], str | None]
"""What a reader of one method finds: the rules, and the KV cache's type if one is named."""

_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One quantization section with what its reader needs of the rest of the config.

    `dtype` is the plain type; `expert_scheme` that of routed experts where the config names
    one outside the section (DeepSeek-V4's `expert_dtype`).
    """

    values: Mapping[str, Any]
    pointer: str
    dtype: str
    depth: Depth
    expert_scheme: str | None = None

    def decode(self, kind: type[Fields]) -> Fields:
        """Return the section's fields; unknown ones are passed over.

        Raises:
            InvalidInput: at the field of a wrong type.
        """
        try:
            return msgspec.convert(self.values, kind)
        except msgspec.ValidationError as error:
            detail, _, path = str(error).partition(" - at `$")
            steps = "".join(f"/{name or index}" for name, index in _STEP.findall(path))
            raise InvalidInput.at(f"{self.pointer}{steps}", f"{detail}.") from None

    def entries(self, field: str, names: Iterable[str] | None) -> Iterator[tuple[str, str]]:
        """Yield the names of a list with their pointers."""
        for index, name in enumerate(names or ()):
            yield f"{self.pointer}/{field}/{index}", name

    def refuse(self, field: str, what: str, value: object, known: Iterable[object]) -> InvalidInput:
        """Return the error for a value that no scheme answers to."""
        listed = ", ".join(str(k) for k in known)
        detail = f"There is no scheme for {what} {value!r:.80}. Known: {listed}."
        return InvalidInput.at(f"{self.pointer}/{field}", detail)
