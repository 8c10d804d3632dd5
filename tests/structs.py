"""Arbitrary values of a struct: what an answer could hold, however unlikely."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

Strategy = st.SearchStrategy[Any]

TEXT = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="gpu-node.7", min_size=60, max_size=253),
    st.sampled_from(
        ["漢字" * 50, "\x1b[31mred\x1b[0m", "a\nb\tc", "\u202egnp.exe", "e\u0301" * 90]
    ),
)


def values(kind: type, known: Mapping[type, Strategy] | None = None) -> Strategy:
    """Return a strategy for `kind`; `known` has those of types with rules of their own."""
    return _values(inspect.type_info(kind), known or {})


def _values(kind: inspect.Type, known: Mapping[type, Strategy]) -> Strategy:  # noqa: PLR0911 - a case a kind
    match kind:
        case inspect.Metadata(type=inner):
            return _values(inner, known)
        case inspect.StructType(cls=cls, fields=fields):
            given = {field.name: _values(field.type, known) for field in fields}
            return known[cls] if cls in known else st.builds(cls, **given)
        case inspect.UnionType(types=types):
            return reduce(or_, (_values(one, known) for one in types))
        case inspect.VarTupleType(item_type=item):
            return st.lists(_values(item, known), max_size=4).map(tuple)
        case inspect.ListType(item_type=item):
            return st.lists(_values(item, known), max_size=4)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key, known), _values(value, known), max_size=4)
        case inspect.LiteralType(values=literals):
            return st.sampled_from(literals)
        case _:
            return _PLAIN[type(kind)]


_PLAIN: Mapping[type[inspect.Type], Strategy] = {
    inspect.StrType: TEXT,
    inspect.IntType: st.integers(0, 1 << 80),
    inspect.FloatType: st.floats(0, 1e18),
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
    inspect.AnyType: st.none() | st.integers() | TEXT,
}
