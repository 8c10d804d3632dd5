"""How plans are started, as it is asked for and answered on the wire."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rackfit.inventory.model import NO_CONTROLS

Word = Annotated[str, NO_CONTROLS, Meta(min_length=1, max_length=1000)]


class LaunchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What commands need that no plan says: how the model is called where the engine runs.

    `model` is a path on the nodes or a repository's name. `slurm` asks for an sbatch script,
    `kubernetes_image` for a LeaderWorkerSet of containers of that image. With `disaggregate`,
    `router_image` is that of the router where the engine's own image has none (vLLM).
    """

    model: Word
    slurm: bool = False
    kubernetes_image: Word | None = None
    router_image: Word | None = None


class NodeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """What is run on one node for one replica, as a line for a POSIX shell."""

    replica: int
    node: str
    devices: tuple[int, ...]
    command: str


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a plan: the engine's own arguments, the same on every node.

    Where the request has `launch`, `commands` has every node's for the listed replicas (with
    TensorRT-LLM over several nodes the first one's: MPI starts the others' ranks), and
    `slurm` and `kubernetes` the manifests asked for. `no_commands` says why there are none, and
    `no_slurm` and `no_kubernetes` why commands have no script or manifest. `kubernetes_needs` has
    the commands that make what a manifest names and does not hold, once for a namespace.
    `files` has the contents of those that the arguments name; commands write them. `environment`
    has the variables that every process is to have, whatever the node.
    """

    engine: str
    gpu_memory_utilization: float | None
    arguments: tuple[str, ...]
    files: Mapping[str, str] = msgspec.field(default_factory=dict)
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    commands: tuple[NodeCommand, ...] = ()
    slurm: str | None = None
    kubernetes: dict[str, Any] | None = None
    kubernetes_needs: tuple[str, ...] = ()
    no_commands: str | None = None
    no_slurm: str | None = None
    no_kubernetes: str | None = None


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """What takes requests and sends each to a prefill and to a decode replica.

    `command` starts it on any node that reaches those of the listed replicas; clients ask at
    `port`. `slurm`, where asked for, is a script of one job for all listed replicas of both sides
    and the router, which may share nodes. Where a `kubernetes_image` is asked for, `kubernetes` is
    a List of a Deployment and a Service of its name, for the namespace that both sides' manifests
    are applied in; `no_kubernetes` says why there is none.
    """

    command: str
    port: int
    slurm: str | None = None
    kubernetes: dict[str, Any] | None = None
    no_kubernetes: str | None = None
