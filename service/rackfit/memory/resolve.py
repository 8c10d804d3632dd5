"""From a request's words to the model that is served: architecture, storage and cache type."""

from functools import lru_cache
from typing import Protocol

import msgspec

from rackfit.architecture.card import read_card
from rackfit.architecture.gguf.reader import read_gguf
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Architecture
from rackfit.architecture.quantization import Quantization, Storage, read_quantization
from rackfit.architecture.safetensors import Listing, differences, read_safetensors
from rackfit.architecture.stored import as_converted, scaled_as_checkpoint, stored_as
from rackfit.catalog import Catalog
from rackfit.catalog.entries import ModelEntry, Scheme
from rackfit.engines import engine_for
from rackfit.engines.cache_layout import KV_DTYPE_ALIASES, KV_DTYPES
from rackfit.engines.choice import EngineChoice
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel, own_cache_dtype
from rackfit.errors import InvalidInput, unknown_name
from rackfit.memory.question import ModelRef, Workload

UNNAMED = "model"
MODELS_KEPT = 64
"""Models of the catalog, each as stored and cached, that a process keeps as it read them."""

CARD_WARNING = "A card names no stored format; bf16 is assumed. Set `quantization`."


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A served model and what its reading had to say; `id` where it is from the catalog.

    `checkpoint_bytes` are those the caller's own listing of the checkpoint sums up to, where it
    is served as it is.
    """

    model: ServedModel
    id: str | None
    warnings: tuple[str, ...]
    checkpoint_bytes: int | None = None


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it was read, before it is stored as the request asks."""

    architecture: Architecture
    own: Storage
    name: str = UNNAMED
    id: str | None = None
    warnings: tuple[str, ...] = ()
    checkpoint_bytes: int | None = None
    is_card: bool = False


class Request(Protocol):
    """What every request says of a model and of what serves it."""

    @property
    def model(self) -> ModelRef:
        """The model."""

    @property
    def engine(self) -> EngineChoice | None:
        """The engine, None where any will do."""

    @property
    def quantization(self) -> str | None:
        """The scheme it is stored in, None for the checkpoint's own."""

    @property
    def kv_cache_dtype(self) -> str | None:
        """The type of its KV cache, None for the checkpoint's own."""


def resolve_request(
    request: Request, catalog: Catalog, device_reserve: float
) -> tuple[Engine, Resolved]:
    """Return the engine a request names, and its model as that engine is to serve it.

    Raises:
        InvalidInput: as `resolve`, and at `/engine/...`.
    """
    engine = engine_for(request.engine, device_reserve)
    resolved = resolve(
        request.model,
        catalog,
        quantization=request.quantization,
        kv_cache_dtype=request.kv_cache_dtype,
        gguf=engine.reads_gguf,
    )
    return engine, resolved


def resolve(
    reference: ModelRef,
    catalog: Catalog,
    *,
    quantization: str | None,
    kv_cache_dtype: str | None,
    gguf: bool = False,
) -> Resolved:
    """Read the model a request refers to, stored and cached as it asks; `gguf` in a GGUF.

    Raises:
        InvalidInput: with a pointer into the request (`/model/...`, `/quantization`,
            `/kv_cache_dtype`).
    """
    if reference.id is not None:
        return _of_catalog(catalog, reference.id, quantization, kv_cache_dtype, gguf=gguf)
    source = _source(reference, catalog)
    return _stored(source, catalog, quantization, kv_cache_dtype, gguf=gguf)


@lru_cache(maxsize=MODELS_KEPT)
def _of_catalog(
    catalog: Catalog, name: str, quantization: str | None, kv_cache_dtype: str | None, *, gguf: bool
) -> Resolved:
    """Read a model of the catalog, which does not change, once for all who ask for it."""
    source = _source(ModelRef(id=name), catalog)
    return _stored(source, catalog, quantization, kv_cache_dtype, gguf=gguf)


def _stored(
    source: _Source,
    catalog: Catalog,
    quantization: str | None,
    kv_cache_dtype: str | None,
    *,
    gguf: bool,
) -> Resolved:
    architecture, stored = source.architecture, source.own
    scheme = None if quantization is None else catalog.scheme(quantization, "/quantization")
    if scheme is not None:
        scheme = scaled_as_checkpoint(scheme, stored, catalog.schemes)
        architecture, stored = stored_as(architecture, scheme, stored, gguf=gguf)
    elif gguf:
        architecture, stored = as_converted(architecture, stored)
    model = ServedModel(
        architecture=architecture,
        storage=stored,
        schemes=catalog.schemes,
        kv_cache_dtype=cache_dtype(kv_cache_dtype, architecture, stored, scheme),
        name=source.name,
        scheme=scheme,
        cache_chosen=kv_cache_dtype is not None,
    )
    unsaid = (CARD_WARNING,) if source.is_card and scheme is None else ()
    return Resolved(
        model=model,
        id=source.id,
        warnings=(*source.warnings, *unsaid),
        checkpoint_bytes=source.checkpoint_bytes if stored is source.own else None,
    )


def read_entry(entry: ModelEntry, assume: str | None = None) -> tuple[Architecture, Quantization]:
    """Read an entry's card or config into an architecture and what its checkpoint stores."""
    if entry.card is not None:
        architecture = read_card(entry.card)
        return architecture, read_quantization({}, None)
    config = entry.config or {}
    return read_config(config, assume=assume), read_quantization(config, entry.hf_quant_config)


def rule_scheme(resolved: Resolved, catalog: Catalog) -> Scheme:
    """The one scheme the rule of thumb counts every weight in."""
    return resolved.model.scheme or catalog.schemes[resolved.model.architecture.dtype]


def _source(reference: ModelRef, catalog: Catalog) -> _Source:
    """Read whatever form the model is given in."""
    if reference.gguf is not None:
        read = read_gguf(reference.gguf, catalog.schemes)
        return _Source(
            architecture=read.architecture,
            own=read.storage,
            name=read.name or UNNAMED,
            warnings=read.architecture.warnings,
        )
    entry = _entry(reference, catalog)
    architecture, own = read_entry(entry, reference.assume)
    source = _Source(
        architecture=architecture,
        own=own,
        name=entry.name,
        id=None if reference.id is None else entry.id,
        warnings=(*entry.warnings, *architecture.warnings),
        is_card=entry.card is not None,
    )
    if reference.safetensors is None:
        return source
    return _beside(source, read_safetensors(reference.safetensors), catalog)


def _beside(source: _Source, listing: Listing, catalog: Catalog) -> _Source:
    """Compare a checkpoint's own listing with what its config counts."""
    counted = ServedModel(
        architecture=source.architecture,
        storage=source.own,
        schemes=catalog.schemes,
        kv_cache_dtype="bf16",
        name=source.name,
    ).checkpoint_bytes
    told = " ".join(differences(listing, source.architecture))
    listed = counted if listing.total_bytes is None else listing.total_bytes
    if listed != counted:
        more = listed - counted
        share = f"{abs(more) / max(counted, 1):.2%}"
        told = (
            f"The safetensors header holds {listed:,} bytes, {abs(more):,} ({share}) "
            f"{'more' if more > 0 else 'less'} than the config counts. {told}"
        )
    warnings = (*source.warnings, told.strip()) if told else source.warnings
    return msgspec.structs.replace(source, warnings=warnings, checkpoint_bytes=listing.total_bytes)


def _entry(reference: ModelRef, catalog: Catalog) -> ModelEntry:
    if reference.id is not None:
        return catalog.model(reference.id, "/model/id")
    return ModelEntry(
        id=UNNAMED,
        name=UNNAMED,
        family="",
        developer="",
        licence="",
        config=reference.config,
        hf_quant_config=reference.hf_quant_config,
        card=reference.card,
    )


def cache_dtype(
    wanted: str | None, architecture: Architecture, stored: Storage, scheme: Scheme | None
) -> str:
    """The KV cache type: the caller's, else the one that is kept unasked."""
    if wanted is None:
        return own_cache_dtype(architecture, stored, scheme)
    folded = wanted.casefold()
    found = KV_DTYPE_ALIASES.get(folded, folded)
    if found not in KV_DTYPES:
        known = [*KV_DTYPES, *KV_DTYPE_ALIASES]
        raise InvalidInput(
            unknown_name("/kv_cache_dtype", "KV cache type", wanted, known, few=True)
        )
    return found


def check_context(workload: Workload, architecture: Architecture) -> None:
    """Refuse a context beyond the model's, and a typical request longer than the context.

    Raises:
        InvalidInput: at `/workload/context_tokens`, else at the part of the request at fault.
    """
    if workload.context_tokens > architecture.context_tokens:
        raise InvalidInput.at(
            "/workload/context_tokens",
            f"The model's context ends at {architecture.context_tokens:,} tokens; "
            f"{workload.context_tokens:,} were asked for.",
        )
    if workload.request_tokens > workload.context_tokens:
        part = "output_tokens" if workload.input_tokens is None else "input_tokens"
        raise InvalidInput.at(
            f"/workload/{part}",
            f"A request of {workload.request_tokens:,} tokens, input and output, does not fit a "
            f"context of {workload.context_tokens:,}.",
        )
