"""Which part of a layer's tensors one rank holds."""

from collections.abc import Mapping

from rackfit.architecture.model import Shard
from rackfit.engines.interface import Engine
from rackfit.engines.split import Split

Share = tuple[int, int]
"""A rank's part of all copies of a tensor, as numerator and denominator."""

Shares = Mapping[Shard, Share]
"""The part of a tensor one rank holds, by how it is divided; WHOLE where none is given."""

WHOLE: Share = (1, 1)


def layer_shares(engine: Engine, split: Split, heads: int, kv_heads: int) -> Shares:
    """The parts that one rank holds of a layer with so many query and KV heads."""
    held = max(1, -(-kv_heads // split.tensor))
    return {
        "heads": (1, split.tensor),
        "attention_output": (1, engine.attention_output_parts(split)),
        "kv_heads": (held, kv_heads),
        "qkv": (-(-heads // split.tensor) + 2 * held, heads + 2 * kv_heads),
        "feed_forward": (1, engine.feed_forward_parts(split)),
        "shared_experts": (1, engine.shared_expert_parts(split)),
    }
