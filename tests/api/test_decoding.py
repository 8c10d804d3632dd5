"""JSON bodies, strictly."""

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.api.decoding import MAX_DEPTH, check_free_form, decode_body
from rackfit.api.problems import RequestError
from rackfit.errors import InvalidInput, Violation


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item of a body."""

    count: Annotated[int, msgspec.Meta(ge=1, le=100)]
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body with one of everything."""

    items: list[Item] = []
    name: str = ""
    kind: Literal["large", "small"] = "small"
    free: dict[str, Any] | None = None
    keyed: dict[str, Item] = {}


def refused(raw: bytes) -> Violation:
    """Return the one violation a body is refused with."""
    with pytest.raises(InvalidInput) as caught:
        decode_body(raw, Body)
    (violation,) = caught.value.violations
    return violation


@pytest.mark.parametrize("spelling", ["12", "12.0", "1.2e1", "120e-1"])
def test_a_whole_number_is_an_integer_however_it_is_spelled(spelling: str) -> None:
    """JSON Schema calls `12.0` an integer."""
    body = decode_body(f'{{"items": [{{"count": {spelling}}}]}}'.encode(), Body)
    assert Body(items=[Item(12)]) == body


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"items": [{"count": "8"}]}', "/items/0/count"),
        (b'{"items": [{"count": 1}, {"count": 12.5}]}', "/items/1/count"),
        (b'{"items": [{"count": true}]}', "/items/0/count"),
        (b'{"items": [{"count": 0}]}', "/items/0/count"),
        (b'{"items": [{"count": 1, "share": "1e-3"}]}', "/items/0/share"),
        (b'{"items": [{"count": 1, "share": "nan"}]}', "/items/0/share"),
        (b'{"items": [{"count": 1, "share": 1e999}]}', "/items/0/share"),
        (b'{"items": [{"count": ' + b"9" * 30 + b"}]}", "/items/0/count"),
        (b'{"items": [{"count": ' + b"9" * 5000 + b"}]}", "/items/0/count"),
        (b'{"items": [{}]}', "/items/0/count"),
        (b'{"items": {}}', "/items"),
        (b'{"keyed": {"k": {"count": 0}}}', "/keyed"),
        (b'{"free": {"x": 1e999}}', "/free"),
        (b'{"nmae": 1}', "/nmae"),
        (b'{"a/b~c": 1}', "/a~1b~0c"),
        (b"[]", ""),
        (b"null", ""),
        (b'"text"', ""),
    ],
)
def test_a_wrong_body_is_refused_at_a_pointer(raw: bytes, pointer: str) -> None:
    """Whatever is well formed and wrong is pointed at."""
    assert pointer == refused(raw).pointer


def test_an_unknown_field_is_named_with_the_one_that_was_meant() -> None:
    """The message offers the closest field and lists all there are."""
    expected = (
        "There is no field `nmae` here. Did you mean `name`? Known: items, name, kind, free, keyed."
    )
    assert expected == refused(b'{"nmae": 1}').detail


def test_an_unknown_field_of_an_item_is_told_the_items_fields() -> None:
    """The fields listed are those of the object that has the unknown one."""
    violation = refused(b'{"items": [{"count": 1, "shares": 1}]}')
    assert violation.pointer == "/items/0/shares"
    assert violation.detail.endswith("Did you mean `share`? Known: count, share.")


def test_a_value_outside_a_choice_is_told_the_choices() -> None:
    """The message lists what there is."""
    expected = Violation("/kind", "`kind` must be 'large' or 'small', not 'medium'.")
    assert expected == refused(b'{"kind": "medium"}')


def test_a_very_long_name_is_not_repeated_whole() -> None:
    """A megabyte in does not come back as a megabyte out."""
    violation = refused(b'{"' + b"x" * 1_000_000 + b'": 1}')
    assert len(violation.detail) < 400
    assert len(violation.pointer) < 400


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"name": "a"}x',
        b'{"name": NaN}',
        b'{"free": {"x": Infinity}}',
        b'{"name": "\xff"}',
        b'{"\xff": 1}',
        b'{"name": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"free": {"x": ' + b"[" * 100_000,
        b'{"free": ' + b'{"x": ' * 100_000,
    ],
    ids=lambda raw: raw[:20].decode("latin-1"),
)
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    """Broken syntax, invalid UTF-8, non-finite numbers and bottomless nesting are a 400."""
    with pytest.raises(RequestError) as caught:
        decode_body(raw, Body)
    assert 400 == caught.value.problem.status


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            b'{"free": {"time_step_limit": [0.0, Infinity]}}',
            "Infinity in `time_step_limit` (byte 35)",
        ),
        (b'{"free": {"x": -Infinity}}', "-Infinity in `x` (byte 16)"),
        (b'{"nmae": 1, "free": {"x": [1, NaN]}}', "NaN in `x` (byte 30)"),
        (b'{"free": {"x": [{"y": 1}, NaN]}}', "NaN (byte 26)"),
    ],
)
def test_numbers_that_only_python_writes_are_named(raw: bytes, told: str) -> None:
    """Published Nemotron configs have them; a field that none can be sure of is not named."""
    with pytest.raises(RequestError) as caught:
        decode_body(raw, Body)
    detail = caught.value.problem.detail
    assert f"it has {told}, and JSON has no Infinity and no NaN. Give a number" in str(detail)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    """Nothing a caller sends makes decoding fail otherwise."""
    try:
        decode_body(raw, Body)
    except (InvalidInput, RequestError):
        return
    json.loads(raw)


@given(
    st.builds(
        Body,
        items=st.lists(
            st.builds(Item, st.integers(1, 100), st.floats(0, 1, allow_subnormal=False)),
            max_size=3,
        ),
        name=st.text(st.characters(codec="utf-8"), max_size=20),
        kind=st.sampled_from(["large", "small"]),
    )
)
def test_what_was_encoded_is_decoded(body: Body) -> None:
    """Decoding undoes encoding."""
    assert body == decode_body(msgspec.json.encode(body), Body)


def test_free_json_of_ordinary_depth_passes() -> None:
    """A published config is well within the bounds."""
    check_free_form({"rope": {"factor": 40, "types": [1, 2, {"a": None}]}}, "/config")


def test_free_json_that_is_too_deep_is_refused() -> None:
    """One level more than allowed is one too many."""
    deepest: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deepest = [deepest]
    check_free_form(deepest, "/config")
    with pytest.raises(InvalidInput) as caught:
        check_free_form([deepest], "/config")
    assert "/config" == caught.value.violations[0].pointer


def test_free_json_with_an_integer_beyond_64_bits_is_refused() -> None:
    """Arithmetic on a 4,000-digit layer count is not something to find out about later."""
    with pytest.raises(InvalidInput):
        check_free_form({"layers": [10**30]}, "/config")
