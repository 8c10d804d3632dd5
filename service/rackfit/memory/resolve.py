"""From a request's words to the model that is served: architecture, storage and cache type."""

import msgspec

from rackfit.architecture.card import read_card
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Architecture, CompressedAttention
from rackfit.architecture.quantization import Quantization, Storage, read_quantization
from rackfit.architecture.stored import as_converted, stored_as
from rackfit.catalog import Catalog
from rackfit.catalog.entries import ModelEntry, Scheme
from rackfit.engines.cache_layout import KV_DTYPE_ALIASES, KV_DTYPES
from rackfit.engines.served import ServedModel
from rackfit.errors import InvalidInput, unknown_name
from rackfit.memory.question import ModelRef, Workload

UNNAMED = "model"


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A served model and what its reading had to say; `id` where it is from the catalog."""

    model: ServedModel
    id: str | None
    warnings: tuple[str, ...]


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
    entry = _entry(reference, catalog)
    architecture, own = read_entry(entry)
    stored: Storage = own
    warnings = [*entry.warnings, *architecture.warnings]
    scheme = None if quantization is None else catalog.scheme(quantization, "/quantization")
    if scheme is not None:
        architecture, stored = stored_as(architecture, scheme, own, gguf=gguf)
    elif gguf:
        architecture, stored = as_converted(architecture, own)
    if scheme is None and entry.card is not None:
        warnings.append("A card names no stored format; bf16 is assumed. Set `quantization`.")
    model = ServedModel(
        architecture=architecture,
        storage=stored,
        schemes=catalog.schemes,
        kv_cache_dtype=cache_dtype(kv_cache_dtype, architecture, stored),
        name=entry.name,
        scheme=scheme,
    )
    return Resolved(
        model=model, id=None if reference.id is None else entry.id, warnings=tuple(warnings)
    )


def read_entry(entry: ModelEntry) -> tuple[Architecture, Quantization]:
    """Read an entry's card or config into an architecture and what its checkpoint stores."""
    if entry.card is not None:
        architecture = read_card(entry.card)
        return architecture, read_quantization({}, None)
    config = entry.config or {}
    return read_config(config), read_quantization(config, entry.hf_quant_config)


def rule_scheme(resolved: Resolved, catalog: Catalog) -> Scheme:
    """The one scheme the rule of thumb counts every weight in."""
    return resolved.model.scheme or catalog.schemes[resolved.model.architecture.dtype]


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


def cache_dtype(wanted: str | None, architecture: Architecture, stored: Storage) -> str:
    """The KV cache type: the caller's, else the checkpoint's own, else the model's type.

    Compressed attention (DeepSeek-V4) caches fp8 rows by design.
    """
    if wanted is None:
        compressed = any(isinstance(k.attention, CompressedAttention) for k in architecture.kinds)
        return stored.kv_cache_dtype or ("fp8" if compressed else architecture.dtype)
    folded = wanted.casefold()
    found = KV_DTYPE_ALIASES.get(folded, folded)
    if found not in KV_DTYPES:
        known = [*KV_DTYPES, *KV_DTYPE_ALIASES]
        raise InvalidInput(unknown_name("/kv_cache_dtype", "KV cache type", wanted, known))
    return found


def check_context(workload: Workload, architecture: Architecture) -> None:
    """Refuse a context beyond the model's.

    Raises:
        InvalidInput: at `/workload/context_tokens`.
    """
    if workload.context_tokens > architecture.context_tokens:
        raise InvalidInput.at(
            "/workload/context_tokens",
            f"The model's context ends at {architecture.context_tokens:,} tokens; "
            f"{workload.context_tokens:,} were asked for.",
        )
