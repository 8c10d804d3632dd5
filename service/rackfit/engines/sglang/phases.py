"""SGLang's replicas of one phase, and its router.

Source: SGLang, documentation: PD Disaggregation; sglang/srt/server_args.py.
"""

from collections.abc import Sequence

from rackfit.engines.launch import Launched, flags, listening
from rackfit.engines.phases import Endpoint, Phases, Program, peers

BOOTSTRAP_PORT = 9100
"""Where the first place's caches are handed on (ServerArgs.disaggregation_bootstrap_port)."""


class SglangPhases(Phases):
    """Prefill replicas have a port of their own each, of which the router tells decode replicas."""

    def arguments(self, launched: Launched, place: int) -> tuple[str, ...]:
        """The port of a prefill replica."""
        port = BOOTSTRAP_PORT + place if launched.phase == "prefill" else None
        return flags(disaggregation_bootstrap_port=port)

    def router(self, prefill: Sequence[Endpoint], decode: Sequence[Endpoint], port: int) -> Program:
        """`sglang_router`, which SGLang's image has (docker/Dockerfile)."""
        module = ("python3", "-m", "sglang_router.launch_router", "--pd-disaggregation")
        told = peers(prefill, decode, BOOTSTRAP_PORT)
        return Program(words=(*module, *told, *listening(port)))
