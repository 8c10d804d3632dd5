"""Query strings: every parameter known, given once and well formed."""

import contextlib
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.api.problems import RequestError
from rackfit.api.queries import decode_query
from rackfit.errors import InvalidInput


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query with one parameter of each kind."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100, description="How many.")] = 10
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    name: str = ""
    dtype: Annotated[str, msgspec.Meta(max_length=5)] | None = None
    tokens: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = ()
    names: Annotated[tuple[str, ...], msgspec.Meta(max_length=3)] = ()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", Query()),
        (b"limit=5", Query(limit=5)),
        (b"share=0.25&limit=7", Query(share=0.25, limit=7)),
        (b"share=1", Query(share=1.0)),
        (b"share=1e-7", Query(share=1e-7)),
        (b"share=2.5E-1", Query(share=0.25)),
        (b"share=0.00012345678901234567", Query(share=0.00012345678901234567)),
        (b"name=a%20b+c%2Fd", Query(name="a b c/d")),
        (b"name=%C3%A9", Query(name="é")),
        (b"name=", Query()),
        (b"name=null", Query(name="null")),
        (b"dtype=fp8", Query(dtype="fp8")),
        (b"tokens=1,20,300", Query(tokens=(1, 20, 300))),
        (b"names=a,b", Query(names=("a", "b"))),
    ],
)
def test_parameters_are_read_by_type(raw: bytes, expected: Query) -> None:
    """Numbers, text and comma-separated lists are told apart by the field."""
    assert expected == decode_query(raw, Query)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"limit=0", "?limit"),
        (b"limit=x", "?limit"),
        (b"limit=", "?limit"),
        (b"limit=+5", "?limit"),
        (b"limit=5.5", "?limit"),
        (b"limit=1e1", "?limit"),
        (b"limit=1.0", "?limit"),
        (b"share=1e999", "?share"),
        (b"limit=null", "?limit"),
        (b"limit=99999999999999999999999", "?limit"),
        (b"limit=%D9%A3", "?limit"),
        (b"share=nan", "?share"),
        (b"share=inf", "?share"),
        (b"share=2", "?share"),
        (b"dtype=toolong", "?dtype"),
        (b"tokens=1,,2", "?tokens"),
        (b"tokens=1,0", "?tokens"),
        (b"names=a,b,c,d", "?names"),
        (b"limti=5", "?limti"),
        (b"limit=5&limit=5", "?limit"),
        (b"=5", "?"),
    ],
)
def test_a_wrong_parameter_is_named(raw: bytes, pointer: str) -> None:
    """Unknown, repeated and ill-typed parameters are refused by name."""
    with pytest.raises(InvalidInput) as caught:
        decode_query(raw, Query)
    assert [pointer] == [v.pointer for v in caught.value.violations]


def test_an_unknown_parameter_is_told_which_was_meant() -> None:
    """The message offers the closest and lists all."""
    with pytest.raises(InvalidInput) as caught:
        decode_query(b"limti=5", Query)
    expected = (
        "There is no parameter 'limti'. Did you mean 'limit'? "
        "Known: limit, share, name, dtype, tokens, names."
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize("raw", [b"name=%zz", b"name=%", b"name=%F", b"name=%FF", b"name=\xff"])
def test_an_invalid_escape_is_malformed(raw: bytes) -> None:
    """What is no percent-encoded UTF-8 is a 400."""
    with pytest.raises(RequestError) as caught:
        decode_query(raw, Query)
    assert 400 == caught.value.problem.status


def test_a_flood_of_parameters_is_malformed() -> None:
    """The number of parameters is bounded before they are looked at."""
    with pytest.raises(RequestError):
        decode_query(b"&".join(b"p%d=1" % n for n in range(200)), Query)


def test_an_operation_without_parameters_takes_none() -> None:
    """Even one unknown parameter is refused, so that a typo is never passed over."""
    assert decode_query(b"", None) is None
    with pytest.raises(InvalidInput):
        decode_query(b"a=1", None)


@given(st.binary(max_size=100))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    """No query string makes decoding fail otherwise."""
    with contextlib.suppress(InvalidInput, RequestError):
        assert isinstance(decode_query(raw, Query), Query)
