"""TensorRT-LLM: what it allows and takes, and how it is started."""

from rackfit.engines.tensorrt_llm.engine import TensorRtLlm

__all__ = ["TensorRtLlm"]
