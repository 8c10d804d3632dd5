"""Public cards become architectures whose totals are the cards' own."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.architecture.card import read_card
from rackfit.architecture.model import ExpertFeedForward, GroupedAttention, Rotary
from rackfit.architecture.parameters import count_parameters
from rackfit.catalog.entries import Card
from rackfit.errors import InvalidInput

V4_PRO = Card(
    parameters=1_600_000_000_000,
    active_parameters=49_000_000_000,
    layers=80,
    hidden_size=8192,
    heads=64,
    kv_heads=8,
    head_dim=128,
    experts=256,
    experts_per_token=8,
    context_tokens=1_048_576,
    rope="YaRN",
)


def card(**changes: object) -> Card:
    """Return the V4-Pro card with some fields changed."""
    return msgspec.structs.replace(V4_PRO, **changes)


def test_total_is_the_cards() -> None:
    """All parts together are exactly the parameters on the card."""
    assert count_parameters(read_card(V4_PRO)).total == 1_600_000_000_000


def test_non_expert_parts_follow_from_the_geometry() -> None:
    """Attention, norms, router, embedding and head are counted; the rest is the experts'."""
    counted = count_parameters(read_card(V4_PRO))

    assert counted.attention == 80 * (2 * 8192 * 8192 + 2 * 8192 * 1024)
    assert counted.router == 80 * 256 * 8192
    assert counted.norm == (2 * 80 + 1) * 8192
    assert counted.embedding == counted.head == 129_280 * 8192
    assert counted.other < 80 * 256 * 8192
    assert counted.shared_experts == counted.dense_feed_forward == 0


def test_expert_width_is_derived() -> None:
    """An expert's width is the rest over layers, experts and three matrices, and inexact."""
    architecture = read_card(V4_PRO)
    routed = count_parameters(architecture).routed_experts

    assert architecture.experts == ExpertFeedForward(
        experts=256, active=8, width=round(routed / (80 * 256 * 3 * 8192)), exact=False
    )


def test_cache_is_the_cards_grouped_attention() -> None:
    """Each of the card's layers keeps 8 KV heads of 128 for every token."""
    architecture = read_card(V4_PRO)

    assert architecture.kind_counts == (80,)
    assert architecture.kinds[0].attention == GroupedAttention(
        heads=64, kv_heads=8, key_width=128, value_width=128
    )
    assert architecture.rotaries == (Rotary(positions=1_048_576, width=128),)


def test_contradiction_is_said_with_its_numbers() -> None:
    """The active count the card claims is less than its active experts alone."""
    assert read_card(V4_PRO).warnings[-1] == (
        "The card says that 49.0 B of 1,600.0 B parameters are active, but its own numbers make "
        "it 63.9 B: 8 of 256 experts alone are 49.6 B, and every token passes 14.4 B more."
    )


def test_consistent_card_has_no_warnings() -> None:
    """A card whose numbers give whole experts and a true active count is taken as it is."""
    others = 80 * (2 * 8192 * 8192 + 2 * 8192 * 1024 + 256 * 8192 + 2 * 8192) + 8192
    consistent = card(
        parameters=80 * 256 * 3 * 3072 * 8192 + others + 2 * 129_280 * 8192,
        active_parameters=63_000_000_000,
        vocabulary_size=129_280,
    )
    architecture = read_card(consistent)

    assert architecture.warnings == ()
    assert architecture.experts == ExpertFeedForward(experts=256, active=8, width=3072)
    assert count_parameters(architecture).other == 0


def test_inexact_width_is_said() -> None:
    """A width that is no whole number of blocks is given with a warning."""
    assert "about 3,150" in " ".join(read_card(V4_PRO).warnings)


def test_assumed_vocabulary_is_said() -> None:
    """A card without a vocabulary is read with DeepSeek's, and says so."""
    assert "129,280" in read_card(card(active_parameters=None)).warnings[0]


def test_dense_card_feeds_forward_what_is_left() -> None:
    """Without experts the rest belongs to the dense layers, and everything is active."""
    dense = card(experts=0, experts_per_token=0, parameters=70_000_000_000, active_parameters=None)
    counted = count_parameters(read_card(dense))

    assert counted.total == counted.active == 70_000_000_000
    assert counted.dense_feed_forward > 0
    assert counted.routed_experts == counted.router == 0


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"kv_heads": 7}, "/model/card/kv_heads"),
        ({"experts_per_token": 257}, "/model/card/experts_per_token"),
        ({"experts_per_token": 0}, "/model/card/experts_per_token"),
        ({"parameters": 1_000_000_000, "active_parameters": None}, "/model/card/parameters"),
        ({"active_parameters": 1_600_000_000_001}, "/model/card/active_parameters"),
        ({"kv_heads": 128}, "/model/card/kv_heads"),
        ({"head_dim": 4097}, "/model/card/head_dim"),
    ],
)
def test_impossible_card_is_refused(changes: dict[str, object], pointer: str) -> None:
    """Numbers that cannot belong to one model are named by their pointer."""
    with pytest.raises(InvalidInput) as caught:
        read_card(card(**changes))

    assert [v.pointer for v in caught.value.violations] == [pointer]


@given(
    parameters=st.integers(10**6, 10**15),
    layers=st.integers(1, 200),
    experts=st.integers(0, 1000),
    active=st.integers(0, 64),
    hidden=st.integers(1, 1 << 15),
    kv_heads=st.integers(1, 64),
    group=st.integers(1, 64),
    width=st.integers(1, 512),
    vocabulary=st.none() | st.integers(1, 1 << 20),
)
def test_any_card_is_exact_or_refused(  # noqa: PLR0913, PLR0917 - the card's own fields
    parameters: int,
    layers: int,
    experts: int,
    active: int,
    hidden: int,
    kv_heads: int,
    group: int,
    width: int,
    vocabulary: int | None,
) -> None:
    """Whatever a card says, its total is met exactly with no negative part, or it is refused."""
    made = card(
        parameters=parameters,
        active_parameters=None,
        layers=layers,
        experts=experts,
        experts_per_token=active,
        hidden_size=hidden,
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=width,
        vocabulary_size=vocabulary,
    )
    try:
        architecture = read_card(made)
    except InvalidInput:
        return
    assert count_parameters(architecture).total == parameters
    assert all(t.elements > 0 for t in (*architecture.outer, *architecture.kinds[0].tensors))
