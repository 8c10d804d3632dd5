"""The activation peak of an engine that profiles a full batch: a model of the mechanism.

Two moments compete: the forward pass of a full batch through the widest layer, and the
sampler over all sequences' logits while the batch's hidden states are still held.
"""

from rackfit.architecture.model import DenseFeedForward, ExpertFeedForward
from rackfit.engines.cache_layout import PLAIN_BYTES
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits, Term

SAMPLER_EXTRA_BYTES = 4 + 8
"""Besides logits in the model's type: their f32 copy and the i64 indices of the sort."""

HELD_STATES = 2
"""Hidden states and residual of the batch, held through the pass."""


def peak_terms(model: ServedModel, split: Split, limits: Limits, *, last: bool) -> tuple[Term, ...]:
    """The fuller of both moments on one rank."""
    element = PLAIN_BYTES[model.dtype]
    tokens, source = limits.batched_tokens, "mechanism; see docs/accuracy.md"
    held = HELD_STATES * tokens * model.architecture.hidden_size * element
    forward = tokens * _widest_layer(model, split) * element
    vocabulary = model.architecture.vocabulary_size
    sampler = limits.sequences * vocabulary * (element + SAMPLER_EXTRA_BYTES) if last else 0
    fuller = (
        Term("full batch in a layer", forward, 0.3, source)
        if forward >= sampler
        else Term("logits and sampler", sampler, 0.3, source)
    )
    return (Term("hidden states", held, 0.3, source), fuller)


class FullBatch:
    """The part of an engine that prepares for one full batch and its sampler."""

    def activation_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
    ) -> tuple[Term, ...]:
        """The forward pass of a full batch, or the sampler."""
        del first
        return peak_terms(model, split, limits, last=last)


def _widest_layer(model: ServedModel, split: Split) -> int:
    """Elements a token takes inside the widest layer: both gated halves and their product."""
    widths = [0]
    for kind in model.kinds:
        match kind.feed_forward:
            case DenseFeedForward(width=width, gated=gated):
                widths.append((2 + gated) * width // split.cell)
            case ExpertFeedForward() as mixture:
                shared = mixture.shared_width + mixture.dense_width
                widths.append(3 * (mixture.active * mixture.width + shared) // split.cell)
            case None:
                pass
    return max(widths)
