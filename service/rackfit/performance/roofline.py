"""How fast a decode step can be at best: bytes over bandwidth, operations over peak, hops.

A bound from first principles with no fitted constant; engines reach a part of it. Pipeline
stages follow each other, tensor ranks exchange their sums twice a layer.
"""

from collections.abc import Sequence

import msgspec

from rackfit.architecture.model import ExpertFeedForward
from rackfit.catalog.entries import Accelerator
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.memory.stages import StageMemory

HOP_SECONDS = 10e-6  # latency of one collective inside a node (aiconfigurator p2p_latency)
COLLECTIVES_PER_LAYER = 2  # after attention and after the feed-forward
OPERATIONS_PER_WEIGHT = 2  # a multiplication and an addition


class DecodeStep(msgspec.Struct, frozen=True, kw_only=True):
    """The bound on one decode step of a whole deployment."""

    seconds_per_output_token: float
    tokens_per_second: float


def decode_step(
    model: ServedModel,
    split: Split,
    stages: Sequence[StageMemory],
    accelerator: Accelerator,
    *,
    sequences: int,
) -> DecodeStep | None:
    """Bound the decode step when each data rank holds `sequences` at the planned context.

    Returns None where the accelerator's bandwidth is not known.
    """
    if not accelerator.memory_bandwidth:
        return None
    touched = touched_share(model.architecture.experts, sequences * split.data)
    routed = routed_share(model)
    reading = sum(
        stage.weights_bytes * (1 - routed * (1 - touched)) + sequences * stage.sequence_bytes
        for stage in stages
    )
    seconds = reading / accelerator.memory_bandwidth
    seconds = max(seconds, _computing(model, split, accelerator, sequences))
    seconds += _exchanging(model, split)
    return DecodeStep(
        seconds_per_output_token=seconds,
        tokens_per_second=sequences * split.data * split.replicas / seconds,
    )


def touched_share(mixture: ExpertFeedForward | None, tokens: int) -> float:
    """The share of experts that at least one of `tokens` tokens is routed to, if evenly."""
    if mixture is None:
        return 1.0
    return 1 - (1 - mixture.active / mixture.experts) ** tokens


def routed_share(model: ServedModel) -> float:
    """The share of all weight bytes that is routed experts."""
    return model.routed_bytes / model.weights_bytes


def _computing(model: ServedModel, split: Split, accelerator: Accelerator, sequences: int) -> float:
    peak = accelerator.flops.get("bf16", 0.0)
    if not peak:
        return 0.0
    ranks = split.tensor * split.data
    return OPERATIONS_PER_WEIGHT * model.active_parameters * sequences * split.data / ranks / peak


def _exchanging(model: ServedModel, split: Split) -> float:
    collectives = COLLECTIVES_PER_LAYER * len(model.order) if split.tensor * split.data > 1 else 0
    return (collectives + split.pipeline - 1) * HOP_SECONDS
