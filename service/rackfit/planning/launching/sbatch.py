"""A plan as a script for Slurm: one job step on every node, all of one job."""

import shlex
from collections.abc import Sequence

from rackfit.planning.question import NodeCommand

LONGEST_NAME = 60


def sbatch_script(name: str, commands: Sequence[NodeCommand]) -> str:
    """Write an sbatch script that starts every node's command and ends with the first to fail.

    Every node is taken with its devices up to the last one used, so that a command sees those
    before its own too and its numbers mean what they mean on the node.

    Args:
        name: of the job; anything but letters, digits and `-_.` becomes a dash.
        commands: of every node; their names are host names.
    """
    nodes: dict[str, int] = {}
    for command in commands:
        nodes[command.node] = max(nodes.get(command.node, 0), max(command.devices) + 1)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job_name(name)}",
        f"#SBATCH --nodes={len(nodes)}",
        f"#SBATCH --nodelist={','.join(nodes)}",
        f"#SBATCH --ntasks={len(commands)}",
        f"#SBATCH {_gpus(tuple(nodes.values()))}",
        "#SBATCH --exclusive",
        "set -euo pipefail",
        *(_step(command, nodes[command.node]) for command in commands),
        "wait -n",
    ]
    return "\n".join(lines) + "\n"


def job_name(name: str) -> str:
    """A name that Slurm and Kubernetes take, from any."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    return kept[:LONGEST_NAME].strip("-_.") or "rackfit"


def _gpus(numbers: Sequence[int]) -> str:
    """A job's nodes are asked for so many each, or, where they differ, for so many together."""
    if len(set(numbers)) == 1:
        return f"--gpus-per-node={numbers[0]}"
    return f"--gpus={sum(numbers)}"


def _step(command: NodeCommand, gpus: int) -> str:
    node = shlex.quote(command.node)
    step = f"srun --nodes=1 --ntasks=1 --nodelist={node} --gpus={gpus} --overlap"
    return f"{step} bash -c {shlex.quote(command.command)} &"
