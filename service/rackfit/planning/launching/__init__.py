"""How a plan is started: a command for every node, and manifests that hold them."""

from rackfit.planning.launching.launch import check_names, launch
from rackfit.planning.launching.router import router

__all__ = ["check_names", "launch", "router"]
