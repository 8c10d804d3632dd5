"""Which media type an answer goes out in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.api.negotiation import negotiate
from rackfit.api.operation import JSON, MESSAGE_PACK, NEGOTIATED, TEXT


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", TEXT),
        ("text/plain", TEXT),
        ("TEXT/PLAIN; Q=0.5", TEXT),
        ("application/msgpack", MESSAGE_PACK),
        ("application/x-msgpack", MESSAGE_PACK),
        ("application/vnd.msgpack", MESSAGE_PACK),
        ("application/json;charset=utf-8", JSON),
        ("text/html, */*;q=0.1", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/json;q=0.4, text/plain;q=0.5", TEXT),
        ("application/json;q=0.5, text/plain;q=0.5", JSON),
        ("application/json;q=0, */*", MESSAGE_PACK),
        ("text/*;q=0.9, text/plain;q=0.1, application/msgpack;q=0.2", MESSAGE_PACK),
        ("text/html", None),
        ("*/*;q=0", None),
        ("application/json;q=0", None),
        ("application/problem+json", None),
    ],
)
def test_the_best_acceptable_offer_is_chosen(accept: str, expected: str | None) -> None:
    """The most specific range decides an offer's quality, and the order of offers a tie."""
    assert expected == negotiate(accept, NEGOTIATED)


@pytest.mark.parametrize("accept", [",", ";", "json", "*/plain", "text/plain;q=2", "/", "a/b;q=x"])
def test_a_header_without_a_well_formed_range_counts_as_absent(accept: str) -> None:
    """Garbage gets the default."""
    assert JSON == negotiate(accept, NEGOTIATED)


@given(st.text(max_size=200))
def test_any_header_gets_an_offer_or_none(accept: str) -> None:
    """No header makes negotiation fail."""
    assert negotiate(accept, NEGOTIATED) in (*NEGOTIATED, None)
