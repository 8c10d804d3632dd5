"""TensorRT-LLM's replicas of one phase, and its router."""

from collections.abc import Sequence
from typing import Any

import msgspec

from rackfit.engines.phases import Endpoint, Phases, Program

ROUTER_FILE = "trtllm-router.yaml"
PATIENCE = 7200  # seconds: examples/disaggregated/slurm/benchmark/start_server.sh


class TensorRtLlmPhases(Phases):
    """Caches are found by what context servers answer with; nobody is told of another."""

    def router(self, prefill: Sequence[Endpoint], decode: Sequence[Endpoint], port: int) -> Program:
        """`trtllm-serve disaggregated`, as patient as examples/disaggregated/slurm makes it."""
        servers = {"context_servers": prefill, "generation_servers": decode}
        options = {
            "hostname": "0.0.0.0",  # noqa: S104 (it serves the cluster)
            "port": port,
            **{
                kind: {"num_instances": len(ends), "urls": [end.address for end in ends]}
                for kind, ends in servers.items()
            },
        }
        patience = (f"--server_start_timeout={PATIENCE}", f"--request_timeout={PATIENCE}")
        words = ("trtllm-serve", "disaggregated", f"--config_file={ROUTER_FILE}", *patience)
        return Program(words=words, files={ROUTER_FILE: as_yaml(options)})


def as_yaml(options: dict[str, Any]) -> str:
    """JSON, with the blank behind a colon that YAML wants and JSON may leave out."""
    return msgspec.json.format(msgspec.json.encode(options), indent=0).decode()
