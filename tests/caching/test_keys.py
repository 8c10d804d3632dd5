"""Keys: equal for equal requests, different for requests that differ in any part."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.caching.keys import KEY_BYTES, OUTLINE_BYTES, KeyMemo, RawKeys, answer_key

# Small alphabets: parts that could run into each other are met in nearly every example.
TEXTS = st.text("ab/", max_size=4)
BYTES = st.lists(st.sampled_from([b"a", b"b", b"/", b"\0"]), max_size=4).map(b"".join)

Parts = dict[str, Any]

ANSWER_PARTS = st.fixed_dictionaries(
    {
        "method": TEXTS,
        "path": TEXTS,
        "query": BYTES,
        "body": BYTES,
        "media_type": TEXTS,
        "variant": TEXTS,
        "version": TEXTS,
        "catalog": TEXTS,
    }
)
RAW_PARTS = st.fixed_dictionaries(
    {
        "method": TEXTS,
        "path": BYTES,
        "query": BYTES,
        "body": BYTES,
        "headers": st.lists(BYTES, max_size=3),
        "variant": TEXTS,
        "version": TEXTS,
        "catalog": TEXTS,
    }
)


def raw_key(parts: Parts) -> bytes:
    """Name a request as it came, in a process of its own settings."""
    of_process = {name: parts[name] for name in ("variant", "version", "catalog")}
    rest = {name: part for name, part in parts.items() if name not in of_process}
    return RawKeys(**of_process).key(**rest)


@given(ANSWER_PARTS, ANSWER_PARTS)
def test_answer_keys_are_equal_exactly_when_all_parts_are(one: Parts, other: Parts) -> None:
    """Two canonical requests share a key if and only if every part is equal."""
    assert (one == other) == (answer_key(**one) == answer_key(**other))


@given(RAW_PARTS, RAW_PARTS)
def test_raw_keys_are_equal_exactly_when_all_parts_are(one: Parts, other: Parts) -> None:
    """Two requests as they came share a raw key if and only if every part is equal."""
    assert (one == other) == (raw_key(one) == raw_key(other))


@given(ANSWER_PARTS, st.data())
def test_one_differing_part_is_enough(parts: Parts, data: st.DataObject) -> None:
    """Changing any single part changes the key."""
    name = data.draw(st.sampled_from(sorted(parts)))
    longer = parts[name] + (b"a" if isinstance(parts[name], bytes) else "a")

    assert answer_key(**parts) != answer_key(**{**parts, name: longer})


@given(ANSWER_PARTS, st.data())
def test_a_byte_moved_to_the_next_part_changes_the_key(parts: Parts, data: st.DataObject) -> None:
    """Parts cannot run into each other: where one ends is part of the key."""
    first, second = data.draw(st.permutations(["query", "body"]))
    moved = {**parts, first: parts[first] + b"a", second: parts[second]}
    kept = {**parts, first: parts[first], second: b"a" + parts[second]}

    assert answer_key(**moved) != answer_key(**kept)


def test_a_key_is_a_digest_of_fixed_length() -> None:
    """A key is 32 bytes and does not change between runs or processes."""
    key = answer_key(
        method="POST",
        path="/v1/plans",
        query=b"",
        body=b"{}",
        media_type="application/json",
        variant="",
        version="1",
        catalog="c",
    )

    assert KEY_BYTES == len(key)
    assert "dd6d66367fab7b4c3787361e7eacfde83c49393a3bcd38f75d64703be1236efe" == key.hex()


def test_a_path_with_a_lone_surrogate_has_a_key() -> None:
    """A path that is not valid Unicode is named like any other, not refused."""
    parts: Parts = dict.fromkeys(("query", "body"), b"")
    parts |= dict.fromkeys(("method", "media_type", "variant", "version", "catalog"), "")

    assert answer_key(path="/\ud800", **parts) != answer_key(path="/\ud801", **parts)


def test_the_memo_forgets_the_least_recently_used() -> None:
    """A full memo drops the raw key that was not asked for longest."""
    memo = KeyMemo(max_entries=2)
    memo.put(b"a", b"", b"1")
    memo.put(b"b", b"", b"2")
    memo.get(b"a")
    memo.put(b"c", b"", b"3")

    assert [b"1", None, b"3"] == [memo.get(raw) for raw in (b"a", b"b", b"c")]
    assert 2 == len(memo)


@pytest.mark.parametrize("again", [b"1", b"2"])
def test_the_memo_keeps_the_latest_key(again: bytes) -> None:
    """Putting a raw key again replaces what it leads to and takes no more room."""
    memo = KeyMemo(max_entries=1)
    memo.put(b"a", b"", b"1")
    memo.put(b"a", b"", again)

    assert again == memo.get(b"a")
    assert 1 == len(memo)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=2)), max_size=9))
def test_the_memo_may_know_whatever_it_knows(puts: list[tuple[bytes, bytes]]) -> None:
    """And nothing of what it has forgotten: a raw key names a request, its body included."""
    memo = KeyMemo(max_entries=2)
    requests = [(name + body, body) for name, body in puts]
    for raw, body in requests:
        memo.put(raw, body, b"key")

    known = {body for raw, body in requests if memo.get(raw)}
    assert known == {body for _, body in requests if memo.may_know(body)}


@pytest.mark.parametrize("at", [0, OUTLINE_BYTES - 1, -OUTLINE_BYTES, -1])
def test_a_body_that_differs_at_an_end_is_not_known(at: int) -> None:
    """As new questions do from those before: in their names or loads."""
    body = bytearray(10 * OUTLINE_BYTES)
    memo = KeyMemo(max_entries=1)
    memo.put(b"raw", bytes(body), b"key")
    assert memo.may_know(bytes(body))
    body[at] ^= 1
    assert not memo.may_know(bytes(body))
    assert not memo.may_know(bytes(10 * OUTLINE_BYTES + 1))
