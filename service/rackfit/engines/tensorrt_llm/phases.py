"""TensorRT-LLM's replicas of one phase, and its router.

Source: TensorRT-LLM, examples/disaggregated.
"""

from collections.abc import Sequence

from rackfit.engines.phases import PATIENCE, Endpoint, Phases, Program
from rackfit.engines.tensorrt_llm.options import as_yaml

ROUTER_FILE = "trtllm-router.yaml"


class TensorRtLlmPhases(Phases):
    """Caches are found by what context servers answer with; nobody is told of another."""

    def router(self, prefill: Sequence[Endpoint], decode: Sequence[Endpoint], port: int) -> Program:
        """`trtllm-serve disaggregated`, as patient as slurm/benchmark/start_server.sh there."""
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
