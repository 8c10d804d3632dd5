"""vLLM's replicas of one phase, and the router of the vLLM project.

Source: vLLM, documentation: NixlConnector Usage Guide; vllm-project/router, documentation:
Prefill-Decode Disaggregation.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rackfit.engines.launch import Host, Launched, listening
from rackfit.engines.phases import Endpoint, Phases, Program, peers

NIXL_CONFIG = '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}'
"""How caches go from prefill to decode replicas."""

SIDE_CHANNEL_PORT = 10_000
"""Where they are asked for on a node, each data rank at a port of its own from there on.

Below it all other ports of a node follow each other (engines/launch.py).
"""

SIDE_CHANNEL_PORTS = 128
"""Data ranks of a replica that have one: each adds its number (nixl/base_scheduler.py)."""


class VllmPhases(Phases):
    """Replicas tell each other, with each request, where a cache is asked for."""

    router_package: ClassVar[str | None] = "vllm-router"

    def environment(self, launched: Launched, host: Host, place: int) -> Mapping[str, str]:
        """Where a replica's cache is asked for."""
        if launched.phase == "both":
            return {}
        return {
            "VLLM_NIXL_SIDE_CHANNEL_HOST": host.name,
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(SIDE_CHANNEL_PORT + place * SIDE_CHANNEL_PORTS),
        }

    def router(self, prefill: Sequence[Endpoint], decode: Sequence[Endpoint], port: int) -> Program:
        """`vllm-router`, a package and an image apart."""
        mode = ("--vllm-pd-disaggregation", "--kv-connector=nixl")
        return Program(words=("vllm-router", *mode, *peers(prefill, decode), *listening(port)))
