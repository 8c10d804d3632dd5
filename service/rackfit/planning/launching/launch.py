"""A plan's launch: the engine's arguments and, where asked, commands and manifests."""

import re
from collections.abc import Sequence

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Launched
from rackfit.errors import InvalidInput, Violation
from rackfit.inventory.model import Node
from rackfit.planning.launches import Launch, LaunchOptions
from rackfit.planning.launching import mpi_pods
from rackfit.planning.launching.commands import missing, replicas_of, steps
from rackfit.planning.launching.leader_worker_set import leader_worker_set, unlike
from rackfit.planning.launching.sbatch import sbatch_script
from rackfit.planning.placement import Placement

_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
MAX_VIOLATIONS = 100
ONE_JOB = (
    "Replicas of both phases may be on one node, which one job takes: `slurm` of the `router` "
    "starts both and the router."
)


def check_names(options: LaunchOptions, nodes: Sequence[Node]) -> None:
    """See that a model and the nodes it is started on can be named to schedulers and engines.

    Raises:
        InvalidInput: the model would be read as an option or by a shell alone, or a node's name
            is none that a host can have.
    """
    if options.model[0] in "-~":
        detail = (
            "Begin with neither `-`, which an engine takes for an option, nor `~`, which only a "
            "shell understands: a path (`/models/x`, `./x`) or a repository's name is meant."
        )
        raise InvalidInput.at("/launch/model", detail)
    detail = "With `launch` a node is named as a host is: letters, digits, `.`, `-` and `_`."
    wrong = [
        Violation(f"/inventory/nodes/{number}/name", detail)
        for number, node in enumerate(nodes)
        if not _HOST_NAME.match(node.name)
    ]
    if wrong:
        raise InvalidInput(*wrong[:MAX_VIOLATIONS])


def launch(
    engine: Engine,
    launched: Launched,
    placed: Placement,
    vendor: str,
    options: LaunchOptions | None,
) -> Launch:
    """Say how a plan is started on the nodes where it is placed.

    Args:
        engine: with the caller's options.
        launched: the plan.
        placed: its ranks; commands are of the replicas listed there.
        vendor: of its accelerators, as the catalog has it.
        options: what the caller asked for; None: arguments only.
    """
    told = Launch(
        engine=engine.name,
        gpu_memory_utilization=launched.utilization,
        arguments=engine.arguments(launched),
        files=engine.files(launched),
        environment=engine.variables(launched),
    )
    if options is None:
        return told
    replicas = replicas_of(launched.split, placed.ranks)
    started = steps(engine, launched, options.model, replicas, vendor=vendor)
    if not started:
        return msgspec.structs.replace(
            told, no_commands=missing(engine, launched, options.model, replicas)
        )
    told = msgspec.structs.replace(
        told,
        commands=tuple(step.command for step in started),
    )
    if options.slurm and launched.phase == "both":
        told = msgspec.structs.replace(told, slurm=sbatch_script(options.model, started))
    elif options.slurm:
        told = msgspec.structs.replace(told, no_slurm=ONE_JOB)
    image = options.kubernetes_image
    if image is None:
        return told
    if why := unlike(replicas):
        return msgspec.structs.replace(told, no_kubernetes=why)
    return msgspec.structs.replace(
        told,
        kubernetes=leader_worker_set(
            engine, launched, options.model, replicas, image=image, vendor=vendor
        ),
        kubernetes_needs=mpi_pods.NEEDS if any(step.by_mpi for step in started) else (),
    )
