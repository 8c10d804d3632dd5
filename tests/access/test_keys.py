"""API keys: made, kept as digests, and told apart."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.access.callers import Caller, read_scopes
from rackfit.access.keys import PREFIX, new_key, owner, read_keys


def test_a_key_is_shown_once_and_kept_as_its_digest() -> None:
    """What is kept opens nothing; the key itself is its caller's."""
    key, line = new_key("scheduler", ["plan"])
    keys = read_keys(line.encode())
    assert key.startswith(PREFIX)
    assert key not in line
    assert hashlib.sha256(key.encode()).hexdigest() in line
    assert owner(keys, key) == Caller("scheduler", frozenset({"read", "plan"}))
    assert owner(keys, line.split()[2]) is None


def test_keys_are_all_different() -> None:
    """They are random."""
    assert len({new_key("a", ["read"])[0] for _ in range(100)}) == 100


@given(shown=st.text(max_size=80))
def test_nothing_else_is_a_key(shown: str) -> None:
    """No other text is anybody's, whatever is in it."""
    assert owner(read_keys(new_key("a", ["admin"])[1].encode()), shown) is None


def test_a_file_may_have_comments_and_several_keys_of_one_caller() -> None:
    """A key is rotated by a second line of the same name, and the first then taken away."""
    (old, first), (new, second) = new_key("dash", ["read"]), new_key("dash", ["read"])
    keys = read_keys(f"# dashboards\n\n{first}\n  {second}\n".encode())
    assert owner(keys, old) == owner(keys, new) == Caller("dash", frozenset({"read"}))


DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no key"),
        ("# nothing\n", "no key"),
        ("only-a-name\n", "line 1: it must be a name"),
        (f"ok read {DIGEST}\nbad name read {DIGEST}\n", "line 2: it must be a name"),
        (f"n\N{LATIN SMALL LETTER U WITH DIAERESIS} read {DIGEST}", "line 1: a name has"),
        (f"a write {DIGEST}", "line 1: scopes are read, plan, admin"),
        ("a read 12", "line 1: a digest is 64"),
        ("a read rackfit_secret", "line 1: a digest is 64"),
        (f"a read {DIGEST}\nb read {DIGEST}", "line 2: the digest stands"),
        ("\x00\xff", "line 1"),
    ],
)
def test_a_wrong_line_is_told_by_its_number_and_never_by_its_words(content: str, said: str) -> None:
    """A key put there by mistake does not come out in a message."""
    with pytest.raises(ValueError, match=said) as caught:
        read_keys(content.encode())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "scopes"), [("", ["read"]), ("a b", ["read"]), ("-a", ["read"]), ("a", ["all"])]
)
def test_no_key_is_made_that_could_not_be_read(name: str, scopes: list[str]) -> None:
    """The line must be one."""
    with pytest.raises(ValueError, match=r"name|scopes"):
        new_key(name, scopes)


def test_larger_scopes_hold_the_smaller() -> None:
    """Who may plan may read; an administrator may everything."""
    assert read_scopes(["plan"]) == {"read", "plan"}
    assert read_scopes(["admin"]) == {"read", "plan", "admin"}
    assert read_scopes(["openid", "read"]) == {"read"}
    assert read_scopes([]) == frozenset()
