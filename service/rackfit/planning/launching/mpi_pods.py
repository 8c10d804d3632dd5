"""Pods whose ranks MPI starts: the first one runs `mpirun`, which reaches the others by ssh.

An image needs Open MPI, and root as its user. NVIDIA's published image of TensorRT-LLM has no ssh
server; where one lacks it, it is installed with apt. The key to log in with is in a Secret that the
caller makes: an answer, which is the same each time and kept, is no place for one.

Sources: ai-dynamo/dynamo, deploy/operator/internal/dynamo/backend_trtllm.go and lws.go, which start
TensorRT-LLM so in a LeaderWorkerSet; NVIDIA/dgx-spark-playbooks,
nvidia/trt-llm/assets/trtllm-mn-entrypoint.sh, which adds the server to that image;
kubeflow/mpi-operator for the Secret's type and keys; Open MPI, mpirun(1) for a call by its path.
"""

import shlex
from collections.abc import Mapping, Sequence

from rackfit.planning.launching.commands import preparation
from rackfit.planning.launching.pods import Json

SSH_PORT = 2222
SECRET, KEYS = "mpi-ssh", "/etc/mpi-ssh"
POD_ENVIRONMENT = "/tmp/pod-environment"  # noqa: S108 (a pod's own, read where it is written)
READ_BY_OWNER = 0o400

VARIABLES = {"OMPI_MCA_orte_keep_fqdn_hostnames": "1"}
"""Other pods are known by their full names only, which Open MPI 4 would cut short.

Its own pod Open MPI 5 knows only by the name that this has itself.
"""

_KEYS = f"--from-file=ssh-privatekey={SECRET} --from-file=ssh-publickey={SECRET}.pub"
NEEDS = (
    f"ssh-keygen -q -t ed25519 -N '' -f {SECRET}",
    f"kubectl create secret generic {SECRET} --type=kubernetes.io/ssh-auth {_KEYS}",
)
"""Makes the Secret, in the namespace that kubectl is set to."""

_SSH = (
    f"-p {SSH_PORT} -i {KEYS}/ssh-privatekey -o StrictHostKeyChecking=no "
    "-o UserKnownHostsFile=/dev/null -o ConnectTimeout=10 -o LogLevel=ERROR"
)
_SSHD = (
    f"/usr/sbin/sshd -D -e -f /dev/null -p {SSH_PORT} -o PasswordAuthentication=no "
    f"-o StrictModes=no -o AuthorizedKeysFile={KEYS}/ssh-publickey"
)


def leader_script(words: Sequence[str], files: Mapping[str, str], sizes: Sequence[int]) -> str:
    """Write the first pod's script: it waits for the others and starts all ranks.

    Args:
        words: what each rank is.
        files: that the first rank reads, by name.
        sizes: devices of each pod, which are its ranks, the first pod's first.
    """
    each = sizes[0]
    rank = f". {POD_ENVIRONMENT} && exec {shlex.join(words)}"
    # Called by its path, mpirun looks for its own parts at the same path of the other pods.
    mpirun = f'"$(command -v mpirun)" --allow-run-as-root -np {sum(sizes)} --host "$hosts"'
    mapped = f"--map-by slot --mca plm_rsh_args {shlex.quote(_SSH)}"
    return "\n".join(
        (
            *_beginning("/usr/bin/ssh", "openssh-client"),
            f"{preparation(files)}hosts=$HOSTNAME:{each}",
            f"for number in $(seq {len(sizes) - 1}); do",
            "  host=${LWS_LEADER_ADDRESS%%.*}-$number.${LWS_LEADER_ADDRESS#*.}",
            f'  until ssh {_SSH} "$host" true; do sleep 2; done',
            f"  hosts=$hosts,$host:{each}",
            "done",
            f"exec {mpirun} {mapped} bash -c {shlex.quote(rank)}",
        )
    )


def worker_script() -> str:
    """Write the script of the others, which wait to be called."""
    return "\n".join(
        (
            *_beginning("/usr/sbin/sshd", "openssh-server"),
            "mkdir -p /run/sshd",
            "ssh-keygen -A",
            f"exec {_SSHD}",
        )
    )


def with_keys(template: Json) -> Json:
    """Let the pods of a template, each of one container, read the Secret."""
    spec = template["spec"]
    [container] = spec["containers"]
    mount = {"name": SECRET, "mountPath": KEYS, "readOnly": True}
    volume = {"name": SECRET, "secret": {"secretName": SECRET, "defaultMode": READ_BY_OWNER}}
    reading = {**container, "volumeMounts": [*container["volumeMounts"], mount]}
    return {"spec": {**spec, "containers": [reading], "volumes": [*spec["volumes"], volume]}}


def _beginning(program: str, package: str) -> tuple[str, ...]:
    """See that a program is there, and keep what ssh does not hand on: the pod's environment."""
    apt = "DEBIAN_FRONTEND=noninteractive apt-get"
    install = f"{apt} update && {apt} install -y --no-install-recommends {package}"
    return (
        "set -e",
        f"test -x {program} || {{ {install}; }}",
        f"export -p > {POD_ENVIRONMENT}",
    )
