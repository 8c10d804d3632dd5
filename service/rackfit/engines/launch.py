"""What an engine is started with beyond its own options: the plan it is to be."""

from typing import Literal

import msgspec

from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

Phase = Literal["both", "prefill", "decode"]
"""What replicas do: read prompts, write tokens, or both."""


class Launched(msgspec.Struct, frozen=True, kw_only=True):
    """One plan as its engine is told of it.

    `sequences` are those a data rank holds at once, each of `context_tokens` at most. Replicas
    of one `phase` hand the cache on to, or get it from, those of the other. A `partition` says how
    many layers each stage gets; None leaves it to the engine. `generation` is that of
    the kernels that the devices run (`terms.kernels`), empty where it is not known.
    """

    model: ServedModel
    split: Split
    utilization: float
    context_tokens: int
    sequences: int
    phase: Phase = "both"
    partition: tuple[int, ...] | None = None
    generation: str = ""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A node's share of one replica: its name, and the devices it gives, in order of rank."""

    name: str
    devices: tuple[int, ...]


PLACES = 64
"""Replicas of one phase that a node may take part in: each has a place there, and its ports.

Those that read prompts, or do both, have the first places, those that only write the next.
"""

FIRST_PORT = 8000
"""Where the replica in a node's first place listens; those in further places follow."""

MASTER_PORT, MASTER_PORTS = 29_500, 16
"""Where its processes are met by others (torch.distributed's default), with what follows it."""


def master_port(place: int) -> int:
    """The first of the ports at which the replica in a place meets its own processes."""
    return MASTER_PORT + place * MASTER_PORTS


def flags(**values: float | str | None) -> tuple[str, ...]:
    """Return `--name=value` for each value there is, dashes for underscores."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return tuple(
        f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"
        for name, value in named.items()
        if value is not None
    )


def listening(port: int) -> tuple[str, ...]:
    """Where the first node of a replica takes requests; every engine spells it alike."""
    return flags(host="0.0.0.0", port=port)  # noqa: S104 (it serves the cluster)


def degree(value: int) -> int | None:
    """A degree of parallelism, None where it is the default of 1."""
    return value if value > 1 else None
