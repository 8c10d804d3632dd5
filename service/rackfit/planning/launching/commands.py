"""The command of every node: the engine's program, its arguments and which devices it takes."""

import shlex
from collections.abc import Iterator, Sequence

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Launched
from rackfit.engines.split import Split
from rackfit.planning.question import PlannedRank


class NodeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """What is run on one node for one replica, as a line for a POSIX shell."""

    replica: int
    node: str
    devices: tuple[int, ...]
    command: str


def replicas_of(split: Split, ranks: Sequence[PlannedRank]) -> list[tuple[Host, ...]]:
    """The nodes of each listed replica with the devices they give, in order of rank."""
    each = split.devices_per_replica
    return [tuple(_hosts(ranks[start : start + each])) for start in range(0, len(ranks), each)]


def _hosts(ranks: Sequence[PlannedRank]) -> Iterator[Host]:
    devices: dict[str, list[int]] = {}
    for rank in ranks:
        devices.setdefault(rank.node, []).append(rank.device)
    for name, held in devices.items():
        yield Host(name=name, devices=tuple(held))


def node_commands(
    engine: Engine, launched: Launched, model: str, replicas: Sequence[Sequence[Host]]
) -> tuple[NodeCommand, ...]:
    """Write the command of every node of every replica."""
    return tuple(
        NodeCommand(
            replica=replica,
            node=host.name,
            devices=host.devices,
            command=_line(engine, launched, model, hosts, number),
        )
        for replica, hosts in enumerate(replicas)
        for number, host in enumerate(hosts)
    )


def _line(
    engine: Engine, launched: Launched, model: str, hosts: Sequence[Host], number: int
) -> str:
    words = (
        *engine.program(model),
        *engine.arguments(launched),
        *engine.node_arguments(launched, hosts, number),
    )
    devices = ",".join(map(str, hosts[number].devices))
    return f"CUDA_VISIBLE_DEVICES={devices} {shlex.join(words)}"
