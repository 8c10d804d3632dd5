"""Load the whole catalog: what ships with the package, then the operator's overlay.

A catalog directory holds `models/*.json` (one `ModelEntry` a file), `accelerators/*.toml`
(tables of `[[accelerator]]`) and `schemes.toml` (tables of `[[scheme]]`); an overlay may leave
any of them out. Its entries replace the shipped ones of the same id. The shipped
`efficiencies.toml`, written by `make fit`, holds always. A data file that stands
elsewhere in an overlay is refused, since nothing would read it. Files and directories whose
names begin with a dot are passed over: mounted ConfigMaps and editors leave such behind.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Final, Generic, TypeVar

import msgspec

from rackfit.catalog.entries import Accelerator, Efficiency, ModelEntry, Scheme
from rackfit.catalog.names import AcceleratorIndex
from rackfit.errors import CatalogError, UnknownName, unknown_name

DIGEST_BYTES = 16

LAYOUT = "models/*.json, accelerators/*.toml or schemes.toml"
DATA_SUFFIXES = (".json", ".toml", ".yaml", ".yml")

Entry = TypeVar("Entry", bound=Accelerator | ModelEntry | Scheme)
Named = TypeVar("Named", bound=ModelEntry | Scheme)
Decoded = TypeVar("Decoded")


class _Names(Generic[Named]):
    """Every name of some entries, case aside; an id wins over an alias spelled the same."""

    def __init__(self, what: str, entries: Collection[Named]) -> None:
        """Index `entries`.

        Raises:
            CatalogError: two entries share an alias.
        """
        self._what: Final = what
        self._spelled: Final = [name for e in entries for name in (e.id, *e.aliases)]
        self._by_name: Final = _by_alias(what, entries) | {e.id.casefold(): e for e in entries}

    def resolve(self, name: str, pointer: str) -> Named:
        found = self._by_name.get(name.casefold())
        if found is None:
            raise UnknownName(unknown_name(pointer, self._what, name, self._spelled))
        return found


class Catalog:
    """Models, accelerators and quantization schemes by id, and by every other name.

    Built once and never changed; the mappings are in order of id. `digest` is BLAKE2b over the
    content (16 bytes, in hexadecimal): equal entries give an equal digest, whatever files they
    came from and in whatever order. `date` is the ISO date of the shipped data's last review.
    `quantizations` are the schemes a model can be served in, index types left out;
    `efficiencies` what engines were found to reach of the modelled speed.
    """

    def __init__(
        self,
        models: Iterable[ModelEntry],
        accelerators: Iterable[Accelerator],
        schemes: Iterable[Scheme],
        date: str,
        efficiencies: Iterable[Efficiency] = (),
    ) -> None:
        """Index the entries.

        Raises:
            CatalogError: a name is ambiguous, or `related` names a model that is not there.
        """
        self.models: Final = _by_id(models)
        self.accelerators: Final = _by_id(accelerators)
        self.schemes: Final = _by_id(schemes)
        self.date: Final = date
        self.efficiencies: Final = tuple(efficiencies)
        self.digest: Final = _digest(
            self.models.values(),
            self.accelerators.values(),
            self.schemes.values(),
            self.efficiencies,
        )
        self._model_names: Final = _Names("model", self.models.values())
        self.quantizations: Final = tuple(s for s in self.schemes.values() if s.kind != "index")
        self._scheme_names: Final = _Names("quantization scheme", self.quantizations)
        self._accelerator_index: Final = AcceleratorIndex(list(self.accelerators.values()))
        _check_related(self.models)

    def model(self, name: str, pointer: str = "/model/id") -> ModelEntry:
        """Return the model of this id or alias, case aside.

        Raises:
            UnknownName: at `pointer`, with the closest names.
        """
        return self._model_names.resolve(name, pointer)

    def accelerator(
        self, name: str, pointer: str = "/accelerator", *, memory_bytes: int | None = None
    ) -> tuple[Accelerator, tuple[str, ...]]:
        """Return the accelerator an operator calls `name`, and warnings on how it was read.

        Of parts that share a name, `memory_bytes`, the device's total, tells which it is.

        Raises:
            UnknownName: at `pointer`, with the closest names.
        """
        return self._accelerator_index.resolve(name, pointer, memory_bytes)

    def scheme(self, name: str, pointer: str = "/quantization") -> Scheme:
        """Return the quantization scheme of this id or alias, case aside.

        Raises:
            UnknownName: at `pointer`, with the closest names.
        """
        return self._scheme_names.resolve(name, pointer)


def load_catalog(overlay: Path | None = None) -> Catalog:
    """Read the shipped catalog and, over it, the directory `overlay`.

    Raises:
        CatalogError: a file is missing, unreadable or wrong; the message names file and field.
    """
    shipped = resources.files("rackfit.catalog") / "data"
    directories = [shipped] if overlay is None else [shipped, _directory(overlay)]
    return Catalog(
        models=_merge(_models(d) for d in directories),
        accelerators=_merge(_accelerators(d) for d in directories),
        schemes=_merge(_schemes(d) for d in directories),
        date=_read(shipped / "catalog.toml", _decode_about).date.isoformat(),
        efficiencies=_read(shipped / "efficiencies.toml", _decode_efficiencies),
    )


class _AcceleratorFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accelerator: list[Accelerator]


class _SchemeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scheme: list[Scheme]


class _EfficiencyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    efficiency: list[Efficiency]
    sources: list[str]


class _AboutFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    date: dt.date


_decode_model = msgspec.json.Decoder(ModelEntry).decode


def _decode_accelerators(content: bytes) -> list[Accelerator]:
    return msgspec.toml.decode(content, type=_AcceleratorFile).accelerator


def _decode_schemes(content: bytes) -> list[Scheme]:
    return msgspec.toml.decode(content, type=_SchemeFile).scheme


def _decode_efficiencies(content: bytes) -> list[Efficiency]:
    return msgspec.toml.decode(content, type=_EfficiencyFile).efficiency


def _decode_about(content: bytes) -> _AboutFile:
    return msgspec.toml.decode(content, type=_AboutFile)


def _models(directory: Traversable) -> Iterator[tuple[Traversable, ModelEntry]]:
    for file in _files(directory / "models", ".json"):
        entry = _read(file, _decode_model)
        _check_model(file, entry)
        yield file, entry


def _accelerators(directory: Traversable) -> Iterator[tuple[Traversable, Accelerator]]:
    for file in _files(directory / "accelerators", ".toml"):
        for entry in _read(file, _decode_accelerators):
            yield file, entry


def _schemes(directory: Traversable) -> Iterator[tuple[Traversable, Scheme]]:
    file = directory / "schemes.toml"
    if file.is_file():
        for entry in _read(file, _decode_schemes):
            yield file, entry


def _directory(overlay: Path) -> Path:
    if not overlay.is_dir():
        msg = f"{overlay}: the catalog overlay is not a directory"
        raise CatalogError(msg)
    for file in sorted(_data_files(overlay)):
        if not _is_read(file.relative_to(overlay)):
            msg = f"{file}: nothing reads this file; a catalog overlay holds {LAYOUT}"
            raise CatalogError(msg)
    return overlay


def _data_files(directory: Path) -> Iterator[Path]:
    """Yield what looks like a catalog file, whatever the case of its name's end."""
    for path, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith(".")]
        for name in names:
            if name.casefold().endswith(DATA_SUFFIXES) and not name.startswith("."):
                yield Path(path, name)


def _is_read(file: PurePath) -> bool:
    """Tell whether a file's place in an overlay is one that is read."""
    match file.parts:
        case ("models", name):
            return name.endswith(".json")
        case ("accelerators", name):
            return name.endswith(".toml")
        case _:
            # A copy of the shipped catalog holds its date, too.
            return str(file) in {"schemes.toml", "catalog.toml"}


def _files(directory: Traversable, suffix: str) -> list[Traversable]:
    if not directory.is_dir():
        return []
    found = (f for f in directory.iterdir() if f.name.endswith(suffix))
    return sorted((f for f in found if not f.name.startswith(".")), key=lambda f: f.name)


def _read(file: Traversable, decode: Callable[[bytes], Decoded]) -> Decoded:
    try:
        return decode(file.read_bytes())
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        msg = f"{file}: {error}"
        raise CatalogError(msg) from error


def _merge(layers: Iterable[Iterable[tuple[Traversable, Entry]]]) -> list[Entry]:
    """Return the entries of all layers; of two with one id, that of the later layer."""
    merged: dict[str, Entry] = {}
    for layer in layers:
        files: dict[str, Traversable] = {}
        for file, entry in layer:
            key = entry.id.casefold()
            if key in files:
                msg = f"{file}: id: {entry.id!r} stands in {files[key].name} already"
                raise CatalogError(msg)
            files[key] = file
            merged[key] = entry
    return list(merged.values())


def _check_model(file: Traversable, entry: ModelEntry) -> None:
    if (entry.config is None) == (entry.card is None):
        msg = f"{file}: config, card: give exactly one of the two"
        raise CatalogError(msg)
    try:
        dt.date.fromisoformat(entry.released or "1970-01-01")
    except ValueError as error:
        msg = f"{file}: released: {entry.released!r} is not an ISO date"
        raise CatalogError(msg) from error


def _check_related(models: Mapping[str, ModelEntry]) -> None:
    for entry in models.values():
        for missing in set(entry.related) - models.keys():
            msg = f"model {entry.id}: related: there is no model {missing!r}"
            raise CatalogError(msg)


def _by_alias(what: str, entries: Iterable[Named]) -> dict[str, Named]:
    named: dict[str, Named] = {}
    for entry in entries:
        for alias in entry.aliases:
            owner = named.setdefault(alias.casefold(), entry)
            if owner is not entry:
                msg = f"{what} {entry.id}: aliases: {alias!r} is an alias of {owner.id} too"
                raise CatalogError(msg)
    return named


def _by_id(entries: Iterable[Entry]) -> Mapping[str, Entry]:
    return MappingProxyType({e.id: e for e in sorted(entries, key=lambda e: e.id)})


def _digest(*parts: Iterable[msgspec.Struct]) -> str:
    # Sorted keys make the digest independent of the order fields stand in.
    entries = [list(part) for part in parts]
    content = msgspec.json.encode(entries, order="sorted")
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()
