"""How a plan is started: a command for every node, and manifests that hold them."""

from rackfit.planning.launching.launch import check_host_names, launch

__all__ = ["check_host_names", "launch"]
