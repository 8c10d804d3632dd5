"""A request's headers, as they came; the framework would sort all of them to look one up."""

from litestar.types import HTTPScope


def raw_values(scope: HTTPScope, name: bytes) -> list[bytes]:
    """Return all values of a header, whose name is given in lower case."""
    return [value for given, value in scope["headers"] if given == name]


def values(scope: HTTPScope, name: bytes) -> list[str]:
    """Return the same as text."""
    return [value.decode("latin-1") for value in raw_values(scope, name)]


def first(scope: HTTPScope, name: bytes) -> str | None:
    """Return the first value of a header, None where it is absent."""
    return next(iter(values(scope, name)), None)


def joined(scope: HTTPScope, name: bytes) -> str:
    """Return a header that may be given several times as one list."""
    return ",".join(values(scope, name))
