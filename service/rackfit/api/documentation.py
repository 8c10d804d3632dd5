"""`/openapi.json` and `/docs`: the contract for programs and for people."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from rackfit.api import openapi
from rackfit.api.docs.page import POLICY, page
from rackfit.api.operation import JSON, Context, Document, Operation

HTML = "text/html; charset=utf-8"


@cache
def contract() -> bytes:
    """Return the committed document, which comes with the package."""
    return files(openapi).joinpath("openapi.json").read_bytes()


def get_openapi(_context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Document:
    """Return the contract as it is committed."""
    return Document(contract(), JSON)


def get_docs(_context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Document:
    """Return the contract as a page."""
    return Document(page(json.loads(contract())).encode(), HTML)


GET_OPENAPI = Operation(
    id="get_openapi",
    method="GET",
    path="/openapi.json",
    tag="service",
    summary="This document",
    description="The contract, OpenAPI 3.1, as it is released with this version.",
    run=get_openapi,
    answer=Document,
    media_types=(JSON,),
)
GET_DOCS = Operation(
    id="get_docs",
    method="GET",
    path="/docs",
    tag="service",
    summary="This document as a page for people",
    description="One page without scripts, with a `curl` line and its output for each operation.",
    run=get_docs,
    answer=Document,
    media_types=(HTML,),
    heavy=True,  # some ten milliseconds to render
    headers={"Content-Security-Policy": POLICY},
)
OPERATIONS = (GET_OPENAPI, GET_DOCS)
