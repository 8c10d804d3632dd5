"""The command of every node: the engine's program, its arguments and which devices it takes."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Launched, listening
from rackfit.engines.split import Split
from rackfit.planning.question import NodeCommand, PlannedRank

FIRST_PORT = 8000
"""Where a node's first replica listens; further ones of the same node follow."""

VISIBLE = {
    "nvidia": "CUDA_VISIBLE_DEVICES",
    "amd": "HIP_VISIBLE_DEVICES",
    "intel": "HABANA_VISIBLE_MODULES",
}
"""The variable by which a process is shown some devices only.

Sources: CUDA programming guide; ROCm GPU isolation guide; Intel Gaudi multiple workloads guide.
"""


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
    engine: Engine,
    launched: Launched,
    model: str,
    replicas: Sequence[Sequence[Host]],
    *,
    vendor: str,
) -> tuple[NodeCommand, ...]:
    """Write the command of every node of every replica.

    None at all where the engine is not started by one command a node: see `missing`.
    """
    if missing(engine, launched, model, replicas):
        return ()
    return tuple(_commands(engine, launched, model, replicas, VISIBLE.get(vendor.lower())))


def missing(
    engine: Engine, launched: Launched, model: str, replicas: Sequence[Sequence[Host]]
) -> str | None:
    """Say why there are no commands; None where there are."""
    if not engine.program(model):
        return "No engine is named: name the one to be started."
    if not all(engine.starts_on(launched.split, hosts) for hosts in replicas):
        return (
            f"{engine.name} is not started on these nodes by one command each: a replica spans "
            "several, and they do not share it as its launcher would."
        )
    led = Counter(hosts[0].name for hosts in replicas if len(hosts) > 1)
    if any(times > 1 for times in led.values()):
        return "Several replicas over several nodes start on one node, and would meet there."
    return None


def _commands(
    engine: Engine,
    launched: Launched,
    model: str,
    replicas: Sequence[Sequence[Host]],
    visible: str | None,
) -> Iterator[NodeCommand]:
    led: Counter[str] = Counter()
    for replica, hosts in enumerate(replicas):
        leader = hosts[0].name
        for number, host in enumerate(hosts):
            words = node_words(engine, launched, model, hosts, number, FIRST_PORT + led[leader])
            yield NodeCommand(
                replica=replica,
                node=host.name,
                devices=host.devices,
                command=_line(words, host.devices, visible),
            )
        led[leader] += 1


def node_words(  # noqa: PLR0917 (what a command is made of)
    engine: Engine,
    launched: Launched,
    model: str,
    hosts: Sequence[Host],
    number: int,
    port: int = FIRST_PORT,
) -> tuple[str, ...]:
    """Return the words that start node `number` of a replica's `hosts`; the first one listens."""
    return (
        *engine.program(model),
        *engine.arguments(launched),
        *engine.node_arguments(launched, hosts, number),
        *(listening(port) if number == 0 else ()),
    )


def _line(words: Sequence[str], devices: Sequence[int], visible: str | None) -> str:
    shown = f"{visible}={','.join(map(str, devices))} " if visible else ""
    return shown + shlex.join(words)
