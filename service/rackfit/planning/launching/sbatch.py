"""A plan as a script for Slurm: one job step on every node, all of one job."""

import shlex
from collections.abc import Sequence

from rackfit.planning.launching.commands import Step

LONGEST_NAME = 60

FIRST = ("set -uo pipefail", "exec 3<> <(:)")
LAST = ("read -r status <&3", 'exit "$status"')
"""Steps write their status into a pipe: `wait -n` may miss one that ends before it is called."""


def sbatch_script(name: str, steps: Sequence[Step]) -> str:
    """Write an sbatch script that starts every step and ends with the first to fail.

    Every node is taken with its devices up to the last one used, so that a command sees those
    before its own too and its numbers mean what they mean on the node.

    Args:
        name: of the job; anything but letters, digits and `-_.` becomes a dash.
        steps: of every replica; their nodes' names are host names. One may take no devices.
    """
    nodes: dict[str, int] = {}
    for host in (host for step in steps for host in step.hosts):
        nodes[host.name] = max(nodes.get(host.name, 0), max(host.devices, default=-1) + 1)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job_name(name)}",
        f"#SBATCH --nodes={len(nodes)}",
        f"#SBATCH --nodelist={','.join(nodes)}",
        f"#SBATCH --ntasks={sum(step.tasks for step in steps)}",
        f"#SBATCH {_gpus(tuple(nodes.values()))}",
        "#SBATCH --exclusive",
        *FIRST,
        *(_step(step, sum(nodes[host.name] for host in step.hosts)) for step in steps),
        *LAST,
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


def _step(step: Step, gpus: int) -> str:
    """A job step; MPI's ranks are started by Slurm itself, after what the first of them reads.

    Source: TensorRT-LLM, examples/llm-api/llm_mgmn_trtllm_serve.sh.
    """
    nodes = ",".join(shlex.quote(host.name) for host in step.hosts)
    start = f"srun --nodes={len(step.hosts)} --ntasks={step.tasks} --nodelist={nodes} --gpus={gpus}"
    if not step.by_mpi:
        return _reported(f"{start} --overlap bash -c {shlex.quote(step.before + step.line)}")
    each = len(step.hosts[0].devices)
    mpi = f"--ntasks-per-node={each} --mpi=pmix --overlap"
    return _reported(f"{step.before}{start} {mpi} bash -c {shlex.quote(step.line)}")


def _reported(command: str) -> str:
    return f"{{ {command}; echo $? >&3; }} &"
