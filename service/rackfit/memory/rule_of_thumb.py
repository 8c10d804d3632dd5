"""The public card's rule of thumb, exact to its printed decimal.

bytes = parameters x bytes per weight x (1 + overhead + 0.01) + KV cache, where the KV cache
carries no overhead. The 0.01 is what all twelve of the card's figures agree on.
"""

from fractions import Fraction

import msgspec

from rackfit.architecture.parameters import count_parameters
from rackfit.catalog.entries import Scheme
from rackfit.engines.cache_layout import bytes_per_token, layer_terms
from rackfit.engines.served import ServedModel

CARD_CONSTANT = Fraction(1, 100)
KV_DTYPE = "bf16"  # the card counts two bytes a cached element, whatever the weights are


class RuleOfThumb(msgspec.Struct, frozen=True, kw_only=True):
    """The rule's three terms in bytes, each rounded half up."""

    weights_bytes: int
    overhead_bytes: int
    kv_cache_bytes: int

    @property
    def total_bytes(self) -> int:
        """All three."""
        return self.weights_bytes + self.overhead_bytes + self.kv_cache_bytes


def rule_of_thumb(
    model: ServedModel, scheme: Scheme, *, overhead: float, tokens: int
) -> RuleOfThumb:
    """Apply the rule to `model` in `scheme`, for `tokens` cached tokens in all."""
    weights = count_parameters(model.architecture).total * bytes_per_weight(scheme)
    share = Fraction(str(overhead)) + CARD_CONSTANT
    return RuleOfThumb(
        weights_bytes=half_up(weights),
        overhead_bytes=half_up(weights * share),
        kv_cache_bytes=half_up(token_bytes(model) * tokens),
    )


def bytes_per_weight(scheme: Scheme) -> Fraction:
    """The card's nominal figure, or the scheme's published average where the card has none."""
    if scheme.card_bytes_per_weight is not None:
        return Fraction(str(scheme.card_bytes_per_weight))
    return Fraction(str(scheme.bits_per_weight)) / 8


def token_bytes(model: ServedModel) -> Fraction:
    """KV bytes of one token over all layers: 2 x layers x kv_heads x head_dim x 2 on the card."""
    counted = zip(model.architecture.kind_counts, model.architecture.kinds, strict=True)
    dtype = model.architecture.dtype
    return sum(
        (
            count
            * bytes_per_token(
                layer_terms(kind.attention, kv_cache_dtype=KV_DTYPE, dtype=dtype, tensor=1)
            )
            for count, kind in counted
        ),
        Fraction(0),
    )


def half_up(value: Fraction) -> int:
    """Round to the nearest integer, halves upwards."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
