"""Which engine serves, and the options of its that decide memory."""

from typing import Annotated

import msgspec
from msgspec import Meta

from rackfit.catalog.entries import Name


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The serving engine and the options of its that decide memory.

    Options left out take the engine's own defaults for that version.
    """

    name: Name
    version: Annotated[str, Meta(max_length=40)] | None = None
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_batched_tokens: Annotated[int, Meta(ge=1, le=1 << 24)] | None = None
    max_sequences: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
