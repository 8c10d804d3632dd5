"""The command of every node: the engine's program, its arguments and which devices it takes."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Self

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.launch import FIRST_PORT, PLACES, Host, Launched, Phase, listening
from rackfit.engines.phases import Endpoint
from rackfit.engines.split import Split
from rackfit.planning.launches import NodeCommand
from rackfit.planning.question import PlannedRank

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


def endpoints(replicas: Sequence[Sequence[Host]], phase: Phase) -> Iterator[Endpoint]:
    """Where each replica takes requests: in the first place that is free on all of its nodes."""
    taken: dict[str, set[int]] = {}
    first = PLACES if phase == "decode" else 0
    for hosts in replicas:
        held = [taken.setdefault(host.name, set()) for host in hosts]
        place = next(n for n in count(first) if all(n not in places for places in held))
        for places in held:
            places.add(place)
        yield Endpoint(host=hosts[0].name, place=place)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is started at once: one process on one node, or by MPI one for each device of several.

    `before` is for the shell of the first node; `line` is what each process is.
    """

    replica: int
    hosts: tuple[Host, ...]
    before: str
    line: str

    @property
    def by_mpi(self) -> bool:
        """Whether MPI starts it."""
        return len(self.hosts) > 1

    @property
    def tasks(self) -> int:
        """How many processes are started."""
        return sum(len(host.devices) for host in self.hosts) if self.by_mpi else 1

    @property
    def command(self) -> NodeCommand:
        """What is typed on its first node; MPI is Open MPI's `mpirun`, filling node by node."""
        start = _mpi_start(self.hosts) if self.by_mpi else ""
        host = self.hosts[0]
        return NodeCommand(
            replica=self.replica,
            node=host.name,
            devices=host.devices,
            command=self.before + start + self.line,
        )

    @classmethod
    def told(cls, told: NodeCommand, hosts: Sequence[Host]) -> Self:
        """The step of a command, by the nodes of its replica."""
        before, by_mpi, line = told.command.partition(_mpi_start(hosts))
        if by_mpi:
            return cls(replica=told.replica, hosts=tuple(hosts), before=before, line=line)
        host = Host(name=told.node, devices=told.devices)
        return cls(replica=told.replica, hosts=(host,), before="", line=told.command)


def _mpi_start(hosts: Sequence[Host]) -> str:
    tasks = sum(len(host.devices) for host in hosts)
    slots = ",".join(f"{host.name}:{len(host.devices)}" for host in hosts)
    return f"mpirun -np {tasks} --host {shlex.quote(slots)} --map-by slot env "


def steps(
    engine: Engine,
    launched: Launched,
    model: str,
    replicas: Sequence[Sequence[Host]],
    *,
    vendor: str,
) -> tuple[Step, ...]:
    """Write what is started on every node of every replica.

    None at all where the engine is not started on such nodes: see `missing`.
    """
    if missing(engine, launched, model, replicas):
        return ()
    return tuple(_steps(engine, launched, model, replicas, VISIBLE.get(vendor.lower())))


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
    last = max(end.place for end in endpoints(replicas, "both"))
    if last >= PLACES:
        return f"A node takes part in more than {PLACES} replicas, which have not ports enough."
    return None


def _steps(
    engine: Engine,
    launched: Launched,
    model: str,
    replicas: Sequence[Sequence[Host]],
    visible: str | None,
) -> Iterator[Step]:
    before = preparation(engine.files(launched))
    ends = endpoints(replicas, launched.phase)
    for replica, (hosts, end) in enumerate(zip(replicas, ends, strict=True)):
        if words := mpi_words(engine, launched, model, hosts, end.place):
            line = _line(words, _variables(engine, launched, hosts[0], end.place, visible))
            yield Step(replica=replica, hosts=tuple(hosts), before=before, line=line)
            continue
        for number, host in enumerate(hosts):
            words = node_words(engine, launched, model, hosts, number, end.place)
            line = _line(words, _variables(engine, launched, host, end.place, visible))
            yield Step(replica=replica, hosts=(host,), before=before, line=line)


def _variables(
    engine: Engine, launched: Launched, host: Host, place: int, visible: str | None
) -> dict[str, str]:
    """The environment of a process: the devices it sees, and what the engine wants there."""
    shown = {visible: ",".join(map(str, host.devices))} if visible else {}
    own = engine.phases.environment(launched, host, place)
    return {**shown, **engine.variables(launched), **own}


def preparation(files: Mapping[str, str]) -> str:
    """Return what a shell does before a program is started: it writes the files it reads."""
    return "".join(
        f"printf '%s\\n' {shlex.quote(text)} > {shlex.quote(name)} && "
        for name, text in files.items()
    )


def mpi_words(
    engine: Engine, launched: Launched, model: str, hosts: Sequence[Host], place: int = 0
) -> tuple[str, ...]:
    """Return the words that MPI starts as every rank of a replica; none: it is not started so."""
    program = engine.mpi_program(model) if len(hosts) > 1 else ()
    if not program:
        return ()
    return (*program, *engine.arguments(launched), *listening(FIRST_PORT + place))


def node_words(  # noqa: PLR0917 (what a command is made of)
    engine: Engine,
    launched: Launched,
    model: str,
    hosts: Sequence[Host],
    number: int,
    place: int = 0,
) -> tuple[str, ...]:
    """Return the words that start node `number` of a replica's `hosts`; the first one listens."""
    return (
        *engine.program(model),
        *engine.arguments(launched),
        *engine.node_arguments(launched, hosts, number, place),
        *engine.phases.arguments(launched, place),
        *(listening(FIRST_PORT + place) if number == 0 else ()),
    )


def _line(words: Sequence[str], variables: Mapping[str, str]) -> str:
    shown = (f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return " ".join([*shown, shlex.join(words)])
