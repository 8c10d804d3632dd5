"""Frames: what was packed comes back, and nothing else does."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rackfit.caching.answer import FORMAT_VERSION, CachedAnswer, pack, packed_bytes, unpack

JSON = "application/json"
KEY = b"k" * 32
FRAME = pack(CachedAnswer.of(b'{"feasible":true}', JSON), key=KEY)

ANSWERS = st.builds(
    CachedAnswer.of,
    st.binary(max_size=64),
    st.text(st.characters(max_codepoint=127), max_size=32),
)


@given(ANSWERS, st.binary(max_size=32))
def test_an_answer_comes_back_as_it_was(answer: CachedAnswer, key: bytes) -> None:
    """Unpacking a packed answer gives the same body, media type and entity tag."""
    assert answer == unpack(pack(answer, key=key), key=key)


@given(ANSWERS)
def test_the_size_of_a_frame_is_known_before_it_is_made(answer: CachedAnswer) -> None:
    """`packed_bytes` is the length of what `pack` makes."""
    assert packed_bytes(answer) == len(pack(answer, key=KEY))


@given(ANSWERS, st.data())
def test_a_frame_cut_short_is_no_answer(answer: CachedAnswer, data: st.DataObject) -> None:
    """No proper prefix of a frame is an answer."""
    frame = pack(answer, key=KEY)
    kept = data.draw(st.integers(0, len(frame) - 1))

    assert unpack(frame[:kept], key=KEY) is None


@given(ANSWERS, st.binary(min_size=1, max_size=8))
def test_a_frame_with_something_behind_it_is_no_answer(answer: CachedAnswer, tail: bytes) -> None:
    """A frame is the whole value or nothing."""
    assert unpack(pack(answer, key=KEY) + tail, key=KEY) is None


@pytest.mark.parametrize("at", range(len(FRAME)))
def test_a_frame_with_one_bit_changed_is_no_answer(at: int) -> None:
    """Every byte of a frame is covered: changing any is noticed."""
    for bit in range(8):
        changed = bytearray(FRAME)
        changed[at] ^= 1 << bit
        assert unpack(bytes(changed), key=KEY) is None


def test_a_frame_under_another_key_is_no_answer() -> None:
    """A value copied from one key to another is not served there."""
    assert unpack(FRAME, key=b"j" * 32) is None


def test_the_border_between_media_type_and_body_is_covered() -> None:
    """Moving bytes from the body into the media type is noticed, even around a NUL."""
    frame = bytearray(pack(CachedAnswer.of(b"\0b", "a"), key=KEY))
    frame[5] += 1
    frame[6] -= 1

    assert unpack(bytes(frame), key=KEY) is None


def test_a_frame_of_another_format_version_is_no_answer() -> None:
    """A release with another format reads nothing of ours, and we nothing of its."""
    other = FRAME[:4] + bytes((FORMAT_VERSION + 1,)) + FRAME[5:]

    assert unpack(other, key=KEY) is None


@given(st.binary(max_size=128))
def test_foreign_bytes_are_no_answer(foreign: bytes) -> None:
    """Bytes from elsewhere give None and never an error."""
    assert unpack(foreign, key=KEY) is None


@given(ANSWERS, ANSWERS)
def test_entity_tags_tell_answers_apart(one: CachedAnswer, other: CachedAnswer) -> None:
    """Answers have one entity tag if and only if body and media type are equal."""
    assert (one == other) == (one.etag == other.etag)


def test_an_entity_tag_is_strong_and_quoted() -> None:
    """The entity tag has RFC 9110's form: no W/, quotes around visible ASCII."""
    etag = CachedAnswer.of(b"{}", JSON).etag

    assert '"' == etag[0] == etag[-1]
    assert etag[1:-1].isalnum()


@pytest.mark.parametrize("media_type", ["a" * 256, "text/\N{SNOWMAN}"])
def test_a_media_type_that_cannot_be_framed_is_refused(media_type: str) -> None:
    """A media type longer than 255 bytes or outside ASCII is our own mistake and is raised."""
    with pytest.raises(ValueError, match=r"media type|ascii"):
        CachedAnswer.of(b"", media_type)
