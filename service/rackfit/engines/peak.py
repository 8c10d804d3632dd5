"""The activation peak of an engine that profiles a full batch: a model of the mechanism.

Two moments compete: the forward pass of a full batch through the widest layer, and the
sampler over all sequences' logits while the batch's hidden states are still held.
"""

from rackfit.architecture.model import DenseFeedForward, ExpertFeedForward
from rackfit.engines.cache_layout import PLAIN_BYTES
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

SAMPLER_EXTRA_BYTES = 4 + 8
"""Besides logits in the model's type: their f32 copy and the i64 indices of the sort."""

HELD_STATES = 2
"""Hidden states and residual of the batch, held through the pass."""


def activation_peak(
    model: ServedModel, split: Split, *, tokens: int, sequences: int, last_stage: bool
) -> int:
    """Bytes at the fuller of both moments on one rank, for a batch of `tokens` tokens."""
    element = PLAIN_BYTES[model.architecture.dtype]
    held = HELD_STATES * tokens * model.architecture.hidden_size * element
    forward = tokens * _widest_layer(model, split) * element
    sampler = sequences * model.architecture.vocabulary_size * (element + SAMPLER_EXTRA_BYTES)
    return held + max(forward, sampler if last_stage else 0)


def _widest_layer(model: ServedModel, split: Split) -> int:
    """Elements a token takes inside the widest layer: both gated halves and their product."""
    widths = [0]
    for kind in model.kinds:
        match kind.feed_forward:
            case DenseFeedForward(width=width, gated=gated):
                widths.append((2 + gated) * width // split.tensor)
            case ExpertFeedForward() as mixture:
                shared = mixture.shared_width + mixture.dense_width
                widths.append(3 * (mixture.active * mixture.width + shared) // split.tensor)
            case None:
                pass
    return max(widths)
