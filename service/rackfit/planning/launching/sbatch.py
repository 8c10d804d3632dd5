"""A plan as a script for Slurm: one job step on every node, all of one job."""

import shlex
from collections.abc import Sequence

from rackfit.planning.question import NodeCommand

LONGEST_NAME = 60


def sbatch_script(name: str, commands: Sequence[NodeCommand]) -> str:
    """Write an sbatch script that starts every node's command and ends with the first to fail.

    Args:
        name: of the job; anything but letters, digits and `-_.` becomes a dash.
        commands: of every node.
    """
    nodes = tuple(dict.fromkeys(command.node for command in commands))
    most = max(_devices(commands, node) for node in nodes)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job_name(name)}",
        f"#SBATCH --nodes={len(nodes)}",
        f"#SBATCH --nodelist={','.join(nodes)}",
        f"#SBATCH --ntasks={len(commands)}",
        f"#SBATCH --gpus-per-node={most}",
        "#SBATCH --exclusive",
        "set -euo pipefail",
        *map(_step, commands),
        "wait -n",
    ]
    return "\n".join(lines) + "\n"


def job_name(name: str) -> str:
    """A name that Slurm and Kubernetes take, from any."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    return kept[:LONGEST_NAME].strip("-_.") or "rackfit"


def _devices(commands: Sequence[NodeCommand], node: str) -> int:
    return sum(len(command.devices) for command in commands if command.node == node)


def _step(command: NodeCommand) -> str:
    node, gpus = shlex.quote(command.node), len(command.devices)
    step = f"srun --nodes=1 --ntasks=1 --nodelist={node} --gpus={gpus} --overlap"
    return f"{step} bash -c {shlex.quote(command.command)} &"
