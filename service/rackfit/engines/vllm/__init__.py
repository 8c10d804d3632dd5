"""vLLM: its rules, its cache pages, its memory and its arguments."""

from rackfit.engines.vllm.engine import Vllm

__all__ = ["Vllm"]
