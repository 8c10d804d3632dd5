"""Text that fits a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.api.text.screen import printable, width, wrap


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("gpu-7", "gpu-7"),
        ("Größe 漢字", "Größe 漢字"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\u202etxt", "\\u202etxt"),
        ("\u200bx", "\\u200bx"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_steers_a_terminal_is_spelled_out(raw: str, shown: str) -> None:
    """Letters of any script stay; controls, marks of direction and half characters do not."""
    assert shown == printable(raw)


@given(st.text(alphabet=st.characters(codec=None)))
def test_no_control_is_ever_shown(raw: str) -> None:
    """Whatever comes in, what goes out is of no category C and ends no line."""
    assert not [
        c for c in printable(raw) if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"
    ]


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("\uff57", 2)]
)
def test_width_is_counted_in_columns(text: str, columns: int) -> None:
    """Wide characters take two columns, combining ones none."""
    assert columns == width(text)


def test_lines_end_between_words() -> None:
    """Words stay whole where they fit a line."""
    assert ["one two", "three"] == wrap("one two three", 8)


def test_long_words_end_behind_punctuation() -> None:
    """A long name is broken where people would break it."""
    assert ["ffn.shared_", "experts.up_", "project"] == wrap("ffn.shared_experts.up_project", 11)


def test_long_words_without_punctuation_end_anywhere() -> None:
    """A name without any joint is broken at the edge."""
    assert ["abcd", "efgh", "i"] == wrap("abcdefghi", 4)


@given(st.text(max_size=200), st.integers(2, 40))
def test_nothing_is_lost_and_nothing_is_too_wide(text: str, columns: int) -> None:
    """All lines fit, and together they hold every character but the spaces between them."""
    lines = wrap(text, columns)
    assert max(map(width, lines)) <= columns
    assert printable(text).replace(" ", "") == "".join(lines).replace(" ", "")
