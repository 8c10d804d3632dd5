"""Answers that belong to the API alone; those of a domain stand beside its questions."""

from typing import Literal

import msgspec

from rackfit.architecture.parameters import Parameters
from rackfit.caching.redis_link import RedisState
from rackfit.catalog.entries import Accelerator, Card, Scheme
from rackfit.errors import Violation
from rackfit.memory.question import KvCacheLayout, MemoryAnswer


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457).

    `instance` is the path asked for, `errors` the fields at fault: each with a JSON Pointer
    into the body, or `?name` for a query parameter.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    request_id: str | None = None
    errors: tuple[Violation, ...] = ()


class ModelOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is called and where it comes from, as its catalog entry has it."""

    id: str
    name: str
    family: str
    developer: str
    licence: str
    released: str | None


class ModelSummary(ModelOrigin, frozen=True, kw_only=True):
    """One line of the list of models; `parameters` and `active_parameters` are counts."""

    parameters: int
    active_parameters: int
    context_tokens: int


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of models; `total` counts those on all pages."""

    models: tuple[ModelSummary, ...]
    total: int
    limit: int
    offset: int


class ModelDetail(ModelOrigin, frozen=True, kw_only=True):
    """Everything the catalog knows of a model; `card` as published, where there is one."""

    architecture: str
    parameters: Parameters
    context_tokens: int
    checkpoint_bytes: int
    kv_cache: KvCacheLayout
    card: Card | None
    aliases: tuple[str, ...]
    related: tuple[str, ...]
    warnings: tuple[str, ...]
    sources: tuple[str, ...]


class AcceleratorList(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators; `warnings` says what was assumed of an ambiguous name."""

    accelerators: tuple[Accelerator, ...]
    warnings: tuple[str, ...] = ()


class SchemeList(msgspec.Struct, frozen=True, kw_only=True):
    """Quantization schemes."""

    quantizations: tuple[Scheme, ...]


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag=200):
    """A question of a batch that was answered."""

    answer: MemoryAnswer


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag=422):
    """A question of a batch that was refused."""

    problem: Problem


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One result a question, in the order asked."""

    results: tuple[Answered | Refused, ...]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What is running: service version, digest and date of the catalog.

    `kernel_tables` is the version of the package of measured kernels, where it is installed.
    """

    version: str
    catalog_digest: str
    catalog_date: str
    kernel_tables: str | None = None


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["live"] = "live"


class MemoryTier(msgspec.Struct, frozen=True, kw_only=True):
    """What the process holds."""

    entries: int
    held_bytes: int


class CacheCondition(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers of the answer cache; `redis` is None where no Redis is configured."""

    memory: MemoryTier
    redis: RedisState | None


class ComputeCondition(msgspec.Struct, frozen=True, kw_only=True):
    """The pool of worker processes: computations running or waiting, and the bound on them."""

    processes: int
    in_progress: int
    limit: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process should be sent requests, and the condition of its parts."""

    ready: bool
    version: str
    catalog_digest: str
    cache: CacheCondition
    compute: ComputeCondition
