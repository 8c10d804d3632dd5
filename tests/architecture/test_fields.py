"""Typed access to config fields: what is taken, and what each error points to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.architecture.fields import MAX_SIDE, Fields, show
from rackfit.errors import InvalidInput, Violation


def read(**values: object) -> Fields:
    """Return the fields of a config at `/c`."""
    return Fields(values, "/c")


def noted(fields: Fields) -> list[Violation]:
    """Return what was noted."""
    try:
        fields.check()
    except InvalidInput as error:
        return list(error.violations)
    return []


def test_alias_is_read_where_the_name_is_absent() -> None:
    """Older names of a field stand in for its first one."""
    assert read(n_embd=768).integer("hidden_size", "n_embd") == 768


def test_null_is_absent() -> None:
    """JSON null is a field left out: the default holds."""
    assert read(kv=None).integer("kv", default=4) == 4
    assert read(window=None).optional("window") is None


def test_missing_field_is_reported_under_its_first_name() -> None:
    """A missing field without a default is named as configs of today name it."""
    fields = read()
    fields.integer("hidden_size", "n_embd")

    assert noted(fields) == [Violation("/c/hidden_size", "hidden_size is missing.")]


def test_wrong_alias_is_reported_under_its_own_name() -> None:
    """A wrong value is reported where it stands."""
    fields = read(n_embd="wide")
    fields.integer("hidden_size", "n_embd")

    assert [v.pointer for v in noted(fields)] == ["/c/n_embd"]


@pytest.mark.parametrize(
    "value", [0, -1, MAX_SIDE + 1, 1.5, "8", True, [8], {}, pytest.param(10**5000, id="huge")]
)
def test_what_is_no_size_is_refused(value: object) -> None:
    """Zero, negative, absurd and mistyped sizes are refused with the bounds."""
    fields = read(size=value)
    fields.integer("size")

    (violation,) = noted(fields)
    assert violation.pointer == "/c/size"
    assert f"a whole number from 1 to {MAX_SIDE}" in violation.detail


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), "2", True])
def test_what_is_no_factor_is_refused(value: object) -> None:
    """A factor is a finite number above zero."""
    fields = read(factor=value)
    fields.number("factor", default=1.0)

    assert [v.pointer for v in noted(fields)] == ["/c/factor"]


def test_every_wrong_field_is_noted_at_once() -> None:
    """One reading finds all fields at fault."""
    fields = read(a="x", b=3, c=7)
    fields.integer("a")
    fields.flag("b")
    fields.text("c")

    assert [v.pointer for v in noted(fields)] == ["/c/a", "/c/b", "/c/c"]


def test_rules_between_fields_wait_for_right_fields() -> None:
    """A rule is not judged on stand-ins for fields that are wrong themselves."""
    fields = read(heads="x")
    heads = fields.integer("heads")
    fields.require("heads", "never said", holds=heads % 2 == 0)

    assert [v.detail for v in noted(fields)] != ["never said"]


def test_nested_fields_point_into_the_config() -> None:
    """A section's errors and a list's errors carry the whole pointer."""
    fields = read(text={"width": -1}, blocks=[{"width": 1}, {"width": 0}])
    fields.section("text").integer("width")
    for block in fields.sections("blocks", length=2):
        block.integer("width")

    assert [v.pointer for v in noted(fields)] == ["/c/text/width", "/c/blocks/1/width"]


@pytest.mark.parametrize("value", [3, "abc", ["a", 1], ["a"], ["a", "b", "b"]])
def test_pattern_has_one_word_a_layer(value: object) -> None:
    """A pattern of the wrong type or length is refused, and a stand-in of the right one read."""
    fields = read(pattern=value)

    assert fields.words("pattern", length=2, known=("a", "b")) == ["a", "a"]
    assert [v.pointer for v in noted(fields)] == ["/c/pattern"]


def test_spare_entries_are_kept() -> None:
    """Entries for layers behind the last one are read where a family has them."""
    assert read(pattern=["a", "b", "b"]).words("pattern", length=2, known=("a", "b"), spare=1) == [
        "a",
        "b",
        "b",
    ]


def test_unknown_word_is_named_by_its_place() -> None:
    """An unknown entry of a pattern is pointed to."""
    fields = read(pattern=["a", "z"])
    fields.words("pattern", length=2, known=("a", "b"))

    assert noted(fields) == [Violation("/c/pattern/1", "'z' is none of a, b.")]


def test_inherited_fields_fill_gaps_only() -> None:
    """A nested config takes from the outer one what it does not say itself."""
    outer = read(dtype="float16", tied=True)
    inner = read(dtype="bfloat16").inherit(outer, "dtype", "tied", "other")

    assert inner.text("dtype") == "bfloat16"
    assert inner.flag("tied") is True


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_wrong_values_are_shown_briefly(value: object) -> None:
    """Whatever the value, a sentence shows it in at most 60 characters."""
    assert len(show(value)) <= 60


def test_a_field_is_noted_once() -> None:
    """However often a wrong field is read, it is one violation: what was found first."""
    fields = read(bias="x")
    for _ in range(3):
        fields.flag("bias")
    fields.fail("bias", "Anything else.")

    assert [Violation("/c/bias", "bias must be true or false, got 'x'.")] == noted(fields)
