"""What readers of foreign formats share: decoding untrusted JSON, and naming products."""

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec
from msgspec.json import Decoder

from rackfit.catalog.entries import MEMORY_TOLERANCE, Accelerator
from rackfit.errors import InvalidInput, UnknownName, escaped
from rackfit.inventory.model import MAX_NODES, Inventory, plainly

T = TypeVar("T")


class Resolve(Protocol):
    """The catalog's look-up: a name and the device's total memory -> accelerator, warnings."""

    def __call__(
        self, name: str, /, *, memory_bytes: int | None = None
    ) -> tuple[Accelerator, tuple[str, ...]]:
        """Raise `UnknownName` where nothing answers to `name`."""


Reader = Callable[[str, Resolve, str | None], Inventory]
"""A format: the text, the catalog's look-up and the `node` query parameter -> inventory."""

MAX_DEVICES = 1024
"""The most devices a `Node` may have."""

MAX_NAME = 253
"""The longest name a `Node` may have, in characters."""

MAX_PRODUCTS = 100
"""The most products one body may name: no cluster has as many, and each costs a look-up."""

_LOCATION = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def check_count(nodes: int) -> None:
    """Refuse more nodes than are planned on, before much is made of them.

    Raises:
        InvalidInput: there are too many.
    """
    if nodes > MAX_NODES:
        raise InvalidInput.at("", f"{nodes:,} nodes are more than {MAX_NODES:,}.")


def decode_json(decoder: Decoder[T], document: str | msgspec.Raw, pointer: str = "") -> T:
    """Decode untrusted JSON that stands at `pointer` in the body.

    Raises:
        InvalidInput: Not JSON, nested too deeply, or of another shape; the pointer
            goes as deep as the decoder tells.
    """
    try:
        return decoder.decode(document)
    except msgspec.ValidationError as error:
        message = str(error)
        path, detail = _path(message), plainly(_LOCATION.sub("", message))
        raise InvalidInput.at(pointer + path, f"{detail}.") from None
    except msgspec.DecodeError as error:
        raise InvalidInput.at(pointer, f"This is not JSON: {error}.") from None
    except RecursionError:
        raise InvalidInput.at(pointer, "The JSON is nested too deeply.") from None


def _path(message: str) -> str:
    """Turn the decoder's `$.a[3].b` into `/a/3/b`, up to the first key it does not tell."""
    location = _LOCATION.search(message)
    known, _, _ = (location["path"] if location else "").partition("[...]")
    return "".join(f"/{escaped(key or index)}" for key, index in _STEP.findall(known))


class Products:
    """The products one body names, each looked up once, with the warnings that arose."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._found: dict[tuple[str, int | None], Accelerator | str] = {}
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """The warnings so far, each once, in the order they arose."""
        return list(self._warnings)

    def find(self, product: str, memory_bytes: int | None = None) -> Accelerator | str:
        """Return what the catalog calls `product`, or say why it is unknown.

        Several parts may print one name, so their total memory counts where it is told; a
        total that is not the catalog's is warned of.

        Raises:
            InvalidInput: The body names more than `MAX_PRODUCTS`.
        """
        key = product, memory_bytes
        if key not in self._found:
            if len(self._found) == MAX_PRODUCTS:
                raise InvalidInput.at("", f"More than {MAX_PRODUCTS} products are named.")
            self._found[key] = self._look_up(product, memory_bytes)
        return self._found[key]

    def _look_up(self, product: str, memory_bytes: int | None) -> Accelerator | str:
        try:
            accelerator, warnings = self._resolve(product, memory_bytes=memory_bytes)
        except UnknownName as unknown:
            return f"unknown product: {unknown}"
        self._warnings.update(dict.fromkeys(warnings))
        if memory_bytes is not None:
            self._compare_memory(accelerator, memory_bytes)
        return accelerator

    def _compare_memory(self, accelerator: Accelerator, seen_bytes: int) -> None:
        """Warn if a device's total memory is not what the catalog says."""
        expected = accelerator.printed_bytes
        if abs(seen_bytes - expected) <= MEMORY_TOLERANCE * expected:
            return
        warning = (
            f"{accelerator.id} reports {seen_bytes >> 20:,} MiB of memory, but the catalog has "
            f"{expected >> 20:,} MiB: another variant of the product, or ECC switched off."
        )
        self._warnings[warning] = None
