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

    Where MPI starts all ranks, a replica over several nodes has one command, for its first node.
    None at all where there is no such command: see `missing`.
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
    before = preparation(engine, launched)
    for replica, hosts in enumerate(replicas):
        leader = hosts[0].name
        port = FIRST_PORT + led[leader]
        if len(hosts) > 1 and (program := engine.mpi_program(model)):
            words = (*program, *engine.arguments(launched), *listening(port))
            lines = [_mpi_line(words, hosts, visible)]
        else:
            lines = [
                _line(node_words(engine, launched, model, hosts, number, port), host, visible)
                for number, host in enumerate(hosts)
            ]
        for host, line in zip(hosts, lines, strict=False):  # MPI: of the first node only
            yield NodeCommand(
                replica=replica, node=host.name, devices=host.devices, command=before + line
            )
        led[leader] += 1


def preparation(engine: Engine, launched: Launched) -> str:
    """Return what a shell does before the engine is started: it writes the files it reads."""
    return "".join(
        f"printf '%s\\n' {shlex.quote(text)} > {shlex.quote(name)} && "
        for name, text in engine.files(launched).items()
    )


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


def _line(words: Sequence[str], host: Host, visible: str | None) -> str:
    shown = f"{_shown(host, visible)} " if visible else ""
    return shown + shlex.join(words)


def _mpi_line(words: Sequence[str], hosts: Sequence[Host], visible: str | None) -> str:
    """Start a rank for each device, node by node, from the first one (mpirun of Open MPI)."""
    slots = ",".join(f"{host.name}:{len(host.devices)}" for host in hosts)
    ranks = sum(len(host.devices) for host in hosts)
    exported = ("-x", _shown(hosts[0], visible)) if visible else ()
    start = ("mpirun", "-np", str(ranks), "--host", slots, "--map-by", "slot", *exported)
    return shlex.join((*start, *words))


def _shown(host: Host, visible: str) -> str:
    return f"{visible}={','.join(map(str, host.devices))}"
