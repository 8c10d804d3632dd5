"""A quantization section of a config, decoded into typed fields with pointers for errors."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

import msgspec

from rackfit.architecture.quantization.rules import Depth, Rule
from rackfit.errors import InvalidInput

Fields = TypeVar("Fields")

Stored = tuple[tuple[Rule, ...], str | None]
"""What a reader of one method finds: the rules, and the KV cache's type if one is named."""

Grouped = Mapping[tuple[int, int], str]
"""Schemes of whole numbers by bits and size of group; -1 is one group a row."""

Named = tuple[str, int | None]
"""A field and what it holds."""

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

    def stored(self, field: str, rules: Iterable[Rule], kv_cache_dtype: str | None) -> Stored:
        """Return what was read; `field` is the one that names schemes.

        Raises:
            InvalidInput: at that field, if the section is about neither weights nor the cache.
        """
        rules = tuple(rules)
        if kv_cache_dtype is None and all(rule.scheme == self.dtype for rule in rules):
            detail = f"{field} names no scheme, and nothing else in this section does."
            raise InvalidInput.at(f"{self.pointer}/{field}", detail)
        return rules, kv_cache_dtype

    def grouped(self, schemes: Grouped, bits: Named, size: Named, at: str = "") -> str:
        """Return the scheme of whole numbers in groups, each of a field and its value.

        Engines have no width and no group to take where a config names none. Source: vLLM and
        SGLang, the configs of GPTQ, AWQ and AutoRound (get_from_keys).

        Raises:
            InvalidInput: at the field that is missing, or that no scheme answers to.
        """
        for field, value in (bits, size):
            if value is None:
                raise InvalidInput.at(f"{self.pointer}/{at}{field}", f"{field} is missing.")
        sizes = [known for width, known in schemes if width == bits[1]]
        if not sizes:
            widths = dict.fromkeys(width for width, _ in schemes)
            raise self.refuse(f"{at}{bits[0]}", f"{bits[0]} =", bits[1], widths)
        if size[1] not in sizes:
            raise self.refuse(f"{at}{size[0]}", f"{bits[1]} bits and {size[0]} =", size[1], sizes)
        return schemes[cast("tuple[int, int]", (bits[1], size[1]))]

    def refuse(self, field: str, what: str, value: object, known: Iterable[object]) -> InvalidInput:
        """Return the error for a value that no scheme answers to."""
        listed = ", ".join(str(k) for k in known)
        detail = f"There is no scheme for {what} {value!r:.80}. Known: {listed}."
        return InvalidInput.at(f"{self.pointer}/{field}", detail)
