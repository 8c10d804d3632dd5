"""How a plan is started: a command for every node, and manifests that hold them."""

from rackfit.planning.launching.launch import launch

__all__ = ["launch"]
