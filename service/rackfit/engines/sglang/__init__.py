"""SGLang: its rules, its pools, its share of a device and its arguments."""

from rackfit.engines.sglang.engine import Sglang

__all__ = ["Sglang"]
