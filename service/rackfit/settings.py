"""Configuration, read once from the environment: `RACKFIT_` and a field's name in capitals."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

from rackfit.wording import expected, opened, shown

PREFIX = "RACKFIT_"
MIB = 1 << 20

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1, le=1 << 40)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Origin = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=r"^https?://[A-Za-z0-9.:_-]+$",
        extra={"looks": "like https://host:port, without a path"},
    ),
]
"""Scheme, host and port of a page, as browsers send it."""

Collector = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=r"^https?://[A-Za-z0-9.:_-]+(/[A-Za-z0-9._/-]*)?$",
        extra={"looks": "like http://host:4318 or https://host/path, without a query"},
    ),
]
"""Where an OpenTelemetry collector takes OTLP over HTTP, without `/v1/traces`."""

LISTS = (tuple[Origin, ...],)
"""Types of settings that are lists, comma-separated in the environment."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its default; README.md carries the same table.

    `device_reserve` is the share of each device kept free where no engine is named.
    `workers` is the number of serving processes. Each of them has `compute_processes` processes
    of its own that plans are searched in; 0 is one a core, shared out among the workers. All
    other limits are each serving process' own too.

    Callers show a key of `api_keys_file` or a token that a key of `jwks_file` signed for
    `jwt_audience`; with neither nobody is asked, which off loopback takes `insecure`.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    compute_processes: Annotated[int, Meta(ge=0, le=256)] = 0
    compute_queue: Positive = 64
    connection_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    request_timeout_seconds: Seconds = 10.0
    body_limit_bytes: Positive = 1 * MIB
    model_body_limit_bytes: Positive = 64 * MIB
    plan_body_limit_bytes: Positive = 64 * MIB
    bodies_limit_bytes: Positive = 64 * MIB
    batch_limit: Positive = 1000
    device_reserve: Annotated[float, Meta(ge=0, lt=1)] = 0.10
    catalog_dir: Path | None = None
    redis_url: str | None = None
    redis_timeout_seconds: Seconds = 0.05
    redis_connect_timeout_seconds: Seconds = 0.1
    redis_cooldown_seconds: Seconds = 1.0
    cache_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 128 * MIB
    cache_entries: Annotated[int, Meta(ge=0, le=1 << 30)] = 20_000
    cache_ttl_seconds: Positive = 86_400
    insecure: bool = False
    api_keys_file: Path | None = None
    jwks_file: Path | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    rate_limit_per_second: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    rate_limit_burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    cors_origins: tuple[Origin, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    otlp_endpoint: Collector | None = None

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """Names of the environment variables that are read."""
        return tuple(PREFIX + field.upper() for field in cls.__struct_fields__)

    @property
    def variant(self) -> str:
        """Digest of every setting that can change an answer: part of each cache key."""
        deciding = msgspec.json.encode([self.device_reserve, self.batch_limit])
        return hashlib.blake2b(deciding, digest_size=8).hexdigest()


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read settings from `environment`.

    Raises:
        ValueError: naming the variable that is unknown or whose value is wrong.
    """
    given = {k: v for k, v in environment.items() if k.startswith(PREFIX) and v}
    ours = {k for k in given if not k.startswith(PREFIX + "TEST_")}
    if unknown := ours - set(Settings.variables()):
        msg = f"Unknown setting {min(unknown)}; known: {', '.join(Settings.variables())}"
        raise ValueError(msg)
    settings = Settings(**{_field(name): _read(name, given[name]) for name in sorted(ours)})
    largest = max(
        settings.body_limit_bytes, settings.model_body_limit_bytes, settings.plan_body_limit_bytes
    )
    if settings.bodies_limit_bytes < largest:
        msg = (
            f"{PREFIX}BODIES_LIMIT_BYTES is {settings.bodies_limit_bytes}; it must be at least "
            f"{largest}, the limit of one body."
        )
        raise ValueError(msg)
    if settings.jwks_file is not None and not settings.jwt_audience:
        msg = (
            f"{PREFIX}JWKS_FILE needs {PREFIX}JWT_AUDIENCE: tokens meant for other services would "
            "be taken."
        )
        raise ValueError(msg)
    return settings


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _read(name: str, value: str) -> Any:  # noqa: ANN401 - as the field has it
    """Read the value of one variable."""
    kind = Settings.__annotations__[_field(name)]
    if kind == Path | None:
        return Path(value)
    given = [item.strip() for item in value.split(",")] if kind in LISTS else value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        msg = f"{name} is {shown(value)}; {_right(inspect.type_info(kind))}."
        raise ValueError(msg) from error


def _right(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.VarTupleType):
        return f"each of what commas divide must be {expected(opened(kind.item_type))}"
    return f"it must be {expected(opened(kind))}"
