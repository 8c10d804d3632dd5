"""What types take, in words: nothing that they check is left out."""

from collections.abc import Iterator

import pytest
from msgspec import inspect

from rackfit.api.operations import OPERATIONS
from rackfit.settings import Settings
from rackfit.wording import expected, opened

READ = {
    kind
    for operation in OPERATIONS
    for kind in (operation.body, operation.query)
    if kind is not None
} | {Settings}


def texts(kind: inspect.Type, seen: set[type]) -> Iterator[inspect.Type]:
    """Yield the types of text in a type, each as its sentence is made of it."""
    for one in opened(kind):
        match one:
            case inspect.Metadata() | inspect.StrType():
                yield one
            case inspect.StructType(cls=cls, fields=fields) if cls not in seen:
                seen.add(cls)
                for field in fields:
                    yield from texts(field.type, seen)
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                yield from texts(item, seen)
            case inspect.DictType(key_type=key, value_type=value):
                yield from texts(key, seen)
                yield from texts(value, seen)


@pytest.mark.parametrize("read", sorted(READ, key=lambda kind: kind.__name__))
def test_a_pattern_is_said_in_words(read: type) -> None:
    """A sentence that names the length alone would send its reader the wrong way."""
    for kind in texts(inspect.type_info(read), set()):
        assert not (isinstance(kind, inspect.StrType) and kind.pattern), kind


def test_what_a_pattern_takes_comes_after_the_length() -> None:
    """As the type's own words say it."""
    [origins] = [f.type for f in inspect.type_info(Settings).fields if f.name == "cors_origins"]
    assert expected(opened(origins.item_type)) == (
        "text of at most 300 characters like https://host:port, without a path"
    )
