"""From a model's public card to an architecture.

A card is no config: it gives no width of an expert and may contradict itself. What follows from
its geometry is counted; the rest of its parameters are the feed-forward's, so that the total is
the card's own to the parameter.
"""

from collections.abc import Iterable, Iterator

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.families.llama import BEFORE_EACH, grouped
from rackfit.architecture.frame import Frame, Heads, Names, assemble
from rackfit.architecture.model import (
    Architecture,
    DenseFeedForward,
    ExpertFeedForward,
    Layer,
    Rotary,
    Tensor,
)
from rackfit.architecture.parameters import count_parameters
from rackfit.catalog.entries import Card
from rackfit.errors import InvalidInput, Violation

DEFAULT_VOCABULARY = 129_280  # DeepSeek-V3's and V4's own (their config.json)
MATRICES = 3  # gate, up and down
BLOCK = 128  # the largest block a quantized width is cut by (fp8, 128 x 128)
TOLERANCE = 0.05  # cards round, and leave out what is small
WIDEST_HEADS = 32
"""How many times as wide as a token all heads together may be: DeepSeek-V4's are 9 times."""
NAMES = Names(architecture="public card")


def read_card(card: Card, *, pointer: str = "/model/card") -> Architecture:
    """Read a public card.

    Args:
        card: the card's fields.
        pointer: where the card stands in the caller's request (JSON Pointer).

    Returns:
        An architecture whose parameters sum to `card.parameters`; its warnings say what was
        assumed and which of the card's numbers contradict each other.

    Raises:
        InvalidInput: where the numbers cannot belong to one model.
    """
    violations = tuple(_violations(card, pointer))
    if violations:
        raise InvalidInput(*violations)
    frame = _frame(card)
    outer, base = tuple(parts.outer(NAMES, frame)), tuple(_base(card))
    rest = card.parameters - _count(outer) - card.layers * _count(base)
    rows, remainder = divmod(rest, _feed_forwards(card) * card.hidden_size)
    if rows < MATRICES:
        counted = card.parameters - rest
        detail = (
            f"{counted:,} parameters follow from the card's other numbers, of {card.parameters:,}."
        )
        raise InvalidInput.at(f"{pointer}/parameters", f"{detail} None are left to feed forward.")
    architecture = assemble(
        NAMES,
        frame,
        ((_layer(card, base, rows),), (0,) * card.layers),
        outer=(*outer, *_remainder(remainder)),
        rotaries=[Rotary(positions=card.context_tokens, width=card.head_dim)] if card.rope else [],
    )
    return msgspec.structs.replace(architecture, warnings=tuple(_warnings(card, architecture)))


def _violations(card: Card, pointer: str) -> Iterator[Violation]:
    """Yield what no model can be."""
    if card.active_parameters is not None and card.active_parameters > card.parameters:
        detail = (
            f"{card.active_parameters:,} active parameters are more than the model's "
            f"{card.parameters:,}."
        )
        yield Violation(f"{pointer}/active_parameters", detail)
    if card.heads * card.head_dim > WIDEST_HEADS * card.hidden_size:
        detail = (
            f"{card.heads:,} heads of {card.head_dim:,} are {card.heads * card.head_dim:,} wide, "
            f"over {WIDEST_HEADS} times hidden_size = {card.hidden_size:,}."
        )
        yield Violation(f"{pointer}/head_dim", detail)
    if card.heads % card.kv_heads:
        detail = f"kv_heads = {card.kv_heads} must divide heads = {card.heads}."
        yield Violation(f"{pointer}/kv_heads", detail)
    if card.experts_per_token > card.experts or (card.experts and not card.experts_per_token):
        detail = f"A token cannot use {card.experts_per_token} of {card.experts} experts."
        yield Violation(f"{pointer}/experts_per_token", detail)


def _frame(card: Card) -> Frame:
    """Return the frame; a card's head is taken to be untied, as in every large model."""
    return Frame(
        hidden=card.hidden_size,
        layers=card.layers,
        vocabulary=card.vocabulary_size or DEFAULT_VOCABULARY,
        context=card.context_tokens,
        tied=False,
        dtype="bf16",
    )


def _heads(card: Card) -> Heads:
    return Heads(heads=card.heads, kv_heads=card.kv_heads, width=card.head_dim)


def _base(card: Card) -> Iterator[Tensor]:
    """Yield what every layer has before its feed-forward: attention, norms, router."""
    at, hidden = NAMES.layer, card.hidden_size
    yield from parts.grouped_attention(f"{at}.self_attn", hidden, _heads(card))
    yield from parts.norms(at, hidden, *BEFORE_EACH)
    if card.experts:
        yield from parts.router(f"{at}.mlp.gate", card.experts, hidden)


def _layer(card: Card, base: Iterable[Tensor], rows: int) -> Layer:
    """Return the one kind of layer, its feed-forward being the rest of the parameters.

    The rest is rarely a whole width times three matrices, so gate, up and down (transposed)
    stand as one folded matrix of `rows` x hidden elements, for each expert or for the layer.
    """
    width, shape = round(rows / MATRICES), (rows, card.hidden_size)
    exact = rows % (MATRICES * BLOCK) == 0
    at = f"{NAMES.layer}.mlp"
    if not card.experts:
        return Layer(
            attention=grouped(_heads(card)),
            feed_forward=DenseFeedForward(width=width, exact=exact),
            blocks=((*base, *parts.linear(at, *shape, "dense_feed_forward", "feed_forward")),),
        )
    folded = parts.linear(
        f"{at}.experts.*", *shape, "routed_experts", "experts", copies=card.experts
    )
    experts = ExpertFeedForward(
        experts=card.experts, active=card.experts_per_token, width=width, exact=exact
    )
    return Layer(attention=grouped(_heads(card)), feed_forward=experts, blocks=((*base, *folded),))


def _remainder(parameters: int) -> Iterator[Tensor]:
    """Yield what is left when every feed-forward has whole rows, less than a row for each."""
    if parameters:
        yield Tensor(name="remainder", shape=(parameters,), component="other")


def _feed_forwards(card: Card) -> int:
    return card.layers * max(1, card.experts)


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.elements for tensor in tensors)


def _warnings(card: Card, architecture: Architecture) -> Iterator[str]:
    """Yield what was assumed and what contradicts what."""
    if card.vocabulary_size is None:
        yield (
            f"The card does not say how large its vocabulary is; {DEFAULT_VOCABULARY:,} tokens "
            "(DeepSeek's) are assumed."
        )
    mixture = architecture.experts
    if mixture is not None and not mixture.exact:
        yield (
            f"The card does not say how wide an expert is; its totals make it about "
            f"{mixture.width:,}, no whole number of blocks of {BLOCK}, so whether slices of an "
            "expert keep whole blocks cannot be checked."
        )
    counted, claimed = count_parameters(architecture), card.active_parameters
    if claimed is None or abs(counted.active - claimed) <= TOLERANCE * claimed:
        return
    sentence = (
        f"The card says that {_billions(claimed)} of {_billions(card.parameters)} parameters are "
        f"active, but its own numbers make it {_billions(counted.active)}"
    )
    if card.experts:
        used = counted.routed_experts * card.experts_per_token // card.experts
        sentence += (
            f": {card.experts_per_token} of {card.experts} experts alone are {_billions(used)}, "
            f"and every token passes {_billions(counted.active - used)} more"
        )
    yield f"{sentence}."


def _billions(parameters: int) -> str:
    return f"{parameters / 1e9:,.1f} B"
