"""`/v1/memory` and a model's memory table: how many bytes, question by question."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from rackfit.api.answers import Answered, BatchAnswer, Refused
from rackfit.api.decoding import decode_body
from rackfit.api.models import check_model, find_model, summary
from rackfit.api.operation import Context, Operation
from rackfit.api.problems import RequestError, as_request_error
from rackfit.api.text import memory as text
from rackfit.catalog.entries import Name
from rackfit.errors import DeadlineExceeded, InvalidInput, TooMany, Violation
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import (
    CARD_OVERHEAD,
    MemoryAnswer,
    MemoryRequest,
    MemoryTable,
    Method,
    Share,
    Tokens,
)
from rackfit.memory.table import CARD_CONTEXTS, CARD_QUANTIZATIONS, memory_table

LARGE_SPLIT = 64
LARGE_TABLE = 16
"""Accelerators and cells beyond which an answer takes more than a few milliseconds."""


Listed = Annotated[
    str,
    Meta(min_length=1, max_length=200, pattern="^[^,]+$", extra={"looks": "without commas"}),
]
"""A name in a comma-separated list, which a comma would divide."""

BATCH_RANKS = 65_536
"""Ranks of a batch's answers, 400 bytes each, after which the rest of it is refused."""
TOO_MANY_RANKS = InvalidInput.at(
    "/split",
    f"The answers before this one have {BATCH_RANKS:,} ranks already; ask it in another batch.",
)


class TableQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows and columns the table has, and how its figures are counted."""

    method: Annotated[
        Method, Meta(description="Count every tensor, or use the public card's rule of thumb.")
    ] = "architecture"
    overhead: Annotated[
        Share, Meta(description="Overhead of the rule of thumb as a share of the weights.")
    ] = CARD_OVERHEAD
    quantization: Annotated[
        tuple[Listed, ...],
        Meta(min_length=1, max_length=50, description="Rows, comma-separated: `Q4_K_M,fp8`."),
    ] = CARD_QUANTIZATIONS
    context_tokens: Annotated[
        tuple[Tokens, ...],
        Meta(
            min_length=1,
            max_length=50,
            description=(
                "Columns, comma-separated. Those beyond the model's context are left out with a "
                "warning; where none is left, that is an error."
            ),
        ),
    ] = CARD_CONTEXTS
    kv_cache_dtype: Annotated[
        Name | None, Meta(description="Type of the KV cache; left out, the model's own.")
    ] = None


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Questions as `POST /v1/memory` takes them, each answered or refused on its own."""

    requests: Annotated[list[msgspec.Raw], Meta(min_length=1)]


def table(context: Context, path: Mapping[str, str], query: TableQuery, _body: None) -> MemoryTable:
    """Fill a model's memory table."""
    entry = find_model(context, path)
    beyond = _beyond(query, summary(context.catalog, entry.id).context_tokens)
    try:
        filled = memory_table(
            entry,
            context.catalog,
            method=query.method,
            overhead=query.overhead,
            quantizations=query.quantization,
            contexts=query.context_tokens,
            kv_cache_dtype=query.kv_cache_dtype,
        )
    except InvalidInput as error:
        # The domain points into a body, as a question of its own would have one.
        at_query = (Violation("?" + v.pointer.lstrip("/?"), v.detail) for v in error.violations)
        raise InvalidInput(*at_query) from error
    return msgspec.structs.replace(filled, warnings=(*filled.warnings, *beyond))


def _beyond(query: TableQuery, longest: int) -> list[str]:
    """Say which of the columns asked for are beyond the model's context; the card's may be.

    Raises:
        InvalidInput: all of them are.
    """
    beyond = [tokens for tokens in query.context_tokens if tokens > longest]
    if not beyond or query.context_tokens == CARD_CONTEXTS:
        return []
    listed = ", ".join(f"{tokens:,}" for tokens in beyond)
    detail = f"The model's context ends at {longest:,} tokens"
    if len(beyond) == len(query.context_tokens):
        raise InvalidInput.at("?context_tokens", f"{detail}; {listed} were asked for.")
    return [f"{detail}, so columns are left out: {listed}."]


def answer(
    context: Context, _path: Mapping[str, str], _query: None, body: MemoryRequest
) -> MemoryAnswer:
    """Answer one question."""
    check_model(body.model)
    return answer_memory(body, context.catalog, device_reserve=context.settings.device_reserve)


def answer_batch(
    context: Context, path: Mapping[str, str], _query: None, body: BatchRequest
) -> BatchAnswer:
    """Answer many questions, each on its own."""
    limit = context.settings.batch_limit
    if len(body.requests) > limit:
        detail = f"{len(body.requests):,} questions; at most {limit:,} are taken at once."
        raise TooMany.at("/requests", detail)
    return BatchAnswer(results=tuple(_results(context, path, body.requests)))


def _results(
    context: Context, path: Mapping[str, str], requests: Iterable[msgspec.Raw]
) -> Iterator[Answered | Refused]:
    """Answer questions in order, until their answers have so many ranks that memory is at stake."""
    ranks = 0
    for raw in requests:
        result = _result(context, path, raw) if ranks < BATCH_RANKS else _refused(TOO_MANY_RANKS)
        if isinstance(result, Answered):
            ranks += len(result.answer.ranks)
        yield result


def _result(context: Context, path: Mapping[str, str], raw: msgspec.Raw) -> Answered | Refused:
    """Answer or refuse one question of a batch; pointers are into that question."""
    if context.expired():
        raise DeadlineExceeded
    try:
        return Answered(answer=answer(context, path, None, decode_body(raw, MemoryRequest)))
    except RequestError as error:
        # Not JSON at all, which cannot be: the batch around it was. But text that is not UTF-8
        # and brackets nested too deeply come to light only here.
        refusal = InvalidInput.at("", error.problem.detail)
    except InvalidInput as error:
        refusal = InvalidInput(*error.violations)  # in a batch, too long a list is a 422 as well
    return _refused(refusal)


def _refused(refusal: InvalidInput) -> Refused:
    return Refused(problem=as_request_error(refusal).problem)


def _is_large_table(query: TableQuery, _body: None) -> bool:
    return len(query.quantization) * len(query.context_tokens) > LARGE_TABLE


def _is_large(_query: None, body: MemoryRequest) -> bool:
    return body.model.id is None or (body.split is not None and body.split.devices > LARGE_SPLIT)


MODEL_MEMORY = Operation(
    id="get_model_memory",
    method="GET",
    path="/v1/models/{id}/memory",
    tag="memory",
    summary="A model's memory by quantization and context",
    description=(
        "The table a public card prints: a row a quantization scheme, a column a context, one "
        "sequence on one device of any size."
    ),
    run=table,
    answer=MemoryTable,
    text=text.memory_table,
    query=TableQuery,
    is_large=_is_large_table,
)
ANSWER_MEMORY = Operation(
    id="answer_memory",
    method="POST",
    path="/v1/memory",
    scope="plan",
    tag="memory",
    summary="How much memory a model takes, rank by rank",
    description=(
        "Weights, KV cache, activations and overhead on one device or on every rank of a "
        "split. With an accelerator, also whether that holds it: a split that does not work is "
        "a 200 with `feasible: false` and the reasons."
    ),
    run=answer,
    answer=MemoryAnswer,
    text=text.memory_answer,
    body=MemoryRequest,
    is_large=_is_large,
)
ANSWER_MEMORY_BATCH = Operation(
    id="answer_memory_batch",
    method="POST",
    path="/v1/memory/batch",
    scope="plan",
    tag="memory",
    summary="Many questions about memory at once",
    description=(
        "Each question is decoded, answered or refused on its own; a refusal's pointers are "
        "into that question. The results are in the order asked."
    ),
    run=answer_batch,
    answer=BatchAnswer,
    text=text.batch_answer,
    body=BatchRequest,
    heavy=True,
)
OPERATIONS = (MODEL_MEMORY, ANSWER_MEMORY, ANSWER_MEMORY_BATCH)
