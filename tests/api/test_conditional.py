"""If-None-Match."""

import pytest

from rackfit.api.conditional import is_current

TAG = '"abc"'


@pytest.mark.parametrize(
    "header", ['"abc"', 'W/"abc"', '"x", "abc"', ' W/"x",W/"abc"', '"abc",', ', ,"abc"', "*", " *"]
)
def test_a_named_tag_is_current(header: str) -> None:
    """Lists, weak tags and `*` all name the answer."""
    assert is_current(header, TAG)


@pytest.mark.parametrize(
    "header",
    [
        "",
        '"x"',
        "abc",
        '"abc',
        '"ab"c"',
        '"*"',
        'W/"abcd"',
        '""',
        'x"abc"',
        '"abc" junk',
        '"abc", junk',
        'w/"abc"',
        '*, "abc"',
        '"abc""x"',
    ],
)
def test_another_tag_is_not_current(header: str) -> None:
    """Neither other tags nor malformed ones match."""
    assert not is_current(header, TAG)
