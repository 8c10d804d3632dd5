"""Which engine serves, and the options of its that decide memory."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackfit.catalog.entries import Name


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The serving engine and the options of its that decide memory.

    Options left out take the engine's own defaults for that version. A `version` that is not known
    is planned for by the nearest that is, with a warning. `speculative_tokens` loads the
    checkpoint's multi-token-prediction layers, `redundant_experts` are slots beyond one an expert,
    and `lora_slots` adapters of `lora_rank` are kept loaded at once. `cache_layout` "ideal" counts
    the cache by its rows alone, not as the engine allocates pages.
    """

    name: Name
    version: Annotated[str, Meta(max_length=40)] | None = None
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_batched_tokens: Annotated[int, Meta(ge=1, le=1 << 24)] | None = None
    max_sequences: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    redundant_experts: Annotated[int, Meta(ge=0, le=1 << 16)] = 0
    speculative_tokens: Annotated[int, Meta(ge=0, le=64)] = 0
    lora_slots: Annotated[int, Meta(ge=0, le=4096)] = 0
    cache_layout: Literal["engine", "ideal"] = "engine"
    lora_rank: Annotated[int, Meta(ge=1, le=4096)] = 16
