"""Laying out lines."""

from hypothesis import given
from hypothesis import strategies as st

from rackfit.api.text.screen import COLUMNS, width
from rackfit.api.text.table import facts, names, page, paragraph, sentences, table
from structs import TEXT


def test_a_header_says_which_side_a_column_is_on() -> None:
    """`>` puts figures below each other by their last digit."""
    expected = ["NODE    GiB", "a       1.0", "b     120.5"]
    assert expected == table(("NODE", ">GiB"), [("a", "1.0"), ("b", "120.5")])


def test_a_cell_too_long_goes_on_below() -> None:
    """Nothing of a name is cut off, and the other columns keep their places."""
    lines = table(("NODE", ">GiB"), [("n" * 100, "1.0")])
    expected = [f"NODE{' ' * 72} GiB", f"{'n' * 75}  1.0", "n" * 25]
    assert expected == lines


def test_facts_are_aligned() -> None:
    """What things are stands in one column."""
    assert ["ready    yes", "version  1.0"] == facts([("ready", "yes"), ("version", "1.0")])


def test_a_sentence_goes_on_indented() -> None:
    """The reader sees where the next one begins."""
    first, second = paragraph(f"{'word ' * 15}end of it", 1)
    assert (f"  {'word ' * 15}".rstrip(), "    end of it") == (first, second)


def test_a_title_without_anything_under_it_is_left_out() -> None:
    """No warnings, no heading."""
    assert ([], []) == (sentences("Warnings", ()), sentences("Also called", names(())))


def test_blocks_of_a_page_are_apart() -> None:
    """One empty line between blocks, none for an empty block, one line feed at the end."""
    assert "a\nb\n\nc\n" == page(["a", "b"], [], ["c"])


@given(
    st.integers(1, 9).flatmap(lambda n: st.lists(st.tuples(*[TEXT] * n), min_size=1, max_size=4))
)
def test_no_table_is_wider_than_the_screen(rows: list[tuple[str, ...]]) -> None:
    """Whatever the cells hold."""
    assert max(map(width, table(rows[0], rows))) <= COLUMNS
