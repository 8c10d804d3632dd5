"""Problem documents."""

import json
import pickle

import pytest

from rackfit.api.problems import (
    KINDS,
    RequestError,
    as_request_error,
    encode_json,
    unavailable,
)
from rackfit.errors import (
    CatalogError,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    RackfitError,
    Violation,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput.at("/model", "wrong"), 422),
        (NotFound("gone"), 404),
        (DeadlineExceeded(), 503),
    ],
)
def test_each_domain_error_has_its_status(error: RackfitError, status: int) -> None:
    """The mapping from errors to statuses is here and only here."""
    assert status == as_request_error(error).problem.status


def test_an_error_of_ours_is_not_the_callers() -> None:
    """A broken catalog file is no 4xx."""
    with pytest.raises(CatalogError):
        as_request_error(CatalogError("models/x.json"))


def test_every_violation_is_listed() -> None:
    """The detail counts them, `errors` has each with its pointer."""
    error = as_request_error(InvalidInput(Violation("/a", "one"), Violation("?b", "two")))
    document = json.loads(encode_json(error.problem))
    assert "2 fields are wrong: /a, ?b." == document["detail"]
    assert [{"pointer": "/a", "detail": "one"}, {"pointer": "?b", "detail": "two"}] == document[
        "errors"
    ]


def test_the_document_has_the_members_of_the_standard() -> None:
    """type, title, status and detail as RFC 9457 has them; empty ones are left out."""
    document = json.loads(encode_json(as_request_error(NotFound("No model 'x'.")).problem))
    expected = {
        "type": "urn:rackfit:problem:not-found",
        "title": "There is nothing at this path",
        "status": 404,
        "detail": "No model 'x'.",
    }
    assert expected == document


def test_types_are_unique() -> None:
    """A type tells one kind of problem from all others."""
    assert len(KINDS) == len({name for name, _ in KINDS.values()})


def test_an_error_survives_the_way_from_a_worker() -> None:
    """Pickling keeps the whole document and the headers."""
    error = unavailable("later")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, as the pool has them
    assert isinstance(copy, RequestError)
    assert (error.problem, error.headers) == (copy.problem, copy.headers)
