"""From answers to bytes."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.api.operation import JSON, MESSAGE_PACK, TEXT, Document, Operation
from rackfit.api.representation import encode_text, represent


class Answer(msgspec.Struct, frozen=True):
    """An answer."""

    name: str
    total_bytes: int


def operation(text: str = "") -> Operation:
    """Return an operation that answers with `text` for people."""
    return Operation(
        id="test",
        method="GET",
        path="/test",
        tag="service",
        summary="",
        description="",
        run=lambda *_: None,
        answer=Answer,
        text=lambda _: text,
    )


def test_json_and_message_pack_say_the_same() -> None:
    """Both decode to one answer."""
    answer = Answer("x", 12)
    as_json, json_type = represent(operation(), answer, JSON)
    packed, packed_type = represent(operation(), answer, MESSAGE_PACK)
    assert (JSON, MESSAGE_PACK) == (json_type, packed_type)
    assert json.loads(as_json) == msgspec.msgpack.decode(packed)


@pytest.mark.parametrize("total", [1 << 64, 10**30, -(10**30)])
def test_integers_message_pack_has_no_room_for_go_out_as_floats(total: int) -> None:
    """An absurd total is an answer, not a failure."""
    packed, _ = represent(operation(), Answer("x", total), MESSAGE_PACK)
    assert float(total) == msgspec.msgpack.decode(packed)["total_bytes"]


def test_text_is_utf_8() -> None:
    """Text keeps its letters and says its charset."""
    content, media_type = represent(operation("Größe\n"), Answer("x", 1), TEXT)
    assert ("Größe\n".encode(), "text/plain; charset=utf-8") == (content, media_type)


def test_a_document_goes_out_as_it_is() -> None:
    """A document brings its media type."""
    document = Document(b"<html>", "text/html")
    assert (b"<html>", "text/html") == represent(operation(), document, "text/html")


@given(st.text(st.characters(), max_size=50))
def test_no_text_can_steer_a_terminal(text: str) -> None:
    """Controls are spelled out; only line feeds are left."""
    shown = encode_text(text).decode()
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown.replace("\n", ""))


def test_an_escape_sequence_is_spelled_out() -> None:
    """A node named after an escape sequence shows what it is."""
    assert b"\\x1b[31mred \\u202e" == encode_text("\x1b[31mred \u202e")
