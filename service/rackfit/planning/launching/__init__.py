"""How a plan is started: a command for every node, and manifests that hold them."""

from rackfit.planning.launching.commands import NodeCommand, node_commands, replicas_of

__all__ = ["NodeCommand", "node_commands", "replicas_of"]
