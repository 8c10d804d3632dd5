"""From a request's bytes to an answer's: the same in the serving process and in a worker.

A request is first brought into its canonical form, which names it in the cache, and computed
from that form alone, so that equal requests have equal answers however they were spelled.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from rackfit import metrics
from rackfit.api.decoding import check_parts, decode_body, malformed
from rackfit.api.operation import Context, Operation, Search
from rackfit.api.problems import as_request_error
from rackfit.api.queries import decode_query
from rackfit.api.representation import represent
from rackfit.errors import DeadlineExceeded, RackfitError


class Canonical(msgspec.Struct, frozen=True):
    """A request in canonical form: JSON with every field given and in order.

    `query` and `body` are empty where the operation takes none; a body that is passed on as
    it is stays as it is. `heavy` tells that computing it belongs off the event loop.
    """

    query: bytes
    body: bytes
    heavy: bool


class Job(msgspec.Struct, frozen=True):
    """A canonical request to compute."""

    operation_id: str
    path: dict[str, str]
    request: Canonical
    media_type: str


class Computed(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it goes on the wire, and what computing it took."""

    content: bytes
    media_type: str
    complete: bool
    seconds: float
    search: Search | None


def canonicalise(operation: Operation, query: bytes, body: bytes) -> Canonical:
    """Decode a request and bring it into canonical form.

    Raises:
        RequestError: it cannot be read, or not as this operation takes it.
    """
    try:
        decoded_query = decode_query(query, operation.query)
        decoded_body = _decode(operation, body)
        return Canonical(
            query=_canonical(decoded_query),
            body=_canonical(decoded_body),
            heavy=operation.heavy or operation.is_large(decoded_query, decoded_body),
        )
    except RackfitError as error:
        raise as_request_error(error) from error
    except RecursionError:
        malformed("The JSON is nested too deeply.")


def _decode(operation: Operation, body: bytes) -> msgspec.Struct | bytes:
    if operation.body is None or issubclass(operation.body, bytes):
        return body
    check_parts(body)
    return decode_body(body, operation.body)


def _canonical(decoded: msgspec.Struct | bytes | None) -> bytes:
    match decoded:
        case None:
            return b""
        case bytes():
            return decoded
        case _:
            return msgspec.json.encode(decoded, order="sorted")


def compute(
    context: Context, operation: Operation, job: Job, expired: Callable[[], bool]
) -> Computed:
    """Answer a canonical request until its time has `expired`.

    Raises:
        RequestError: whatever the domain refuses.
    """
    started = time.monotonic()
    try:
        answer = _answer(msgspec.structs.replace(context, expired=expired), operation, job)
    except RackfitError as error:
        raise as_request_error(error) from error
    content, media_type = represent(operation, answer, job.media_type)
    return Computed(
        content=content,
        media_type=media_type,
        complete=operation.is_complete(answer),
        seconds=time.monotonic() - started,
        search=operation.search(answer) if operation.search else None,
    )


def _answer(context: Context, operation: Operation, job: Job) -> Any:  # noqa: ANN401 - any answer
    if context.expired():
        raise DeadlineExceeded
    query = (
        msgspec.json.decode(job.request.query, type=operation.query) if operation.query else None
    )
    check_parts(job.request.body)  # a body that is passed on has not been looked at before
    body = _decode(operation, job.request.body) if operation.body else None
    return operation.run(context, job.path, query, body)


def observe(computed: Computed) -> None:
    """Record what a plan search did, where there was one."""
    if computed.search is not None:
        metrics.PLAN_SECONDS.observe(computed.seconds)
        metrics.PLAN_SPLITS.observe(computed.search.splits)
        metrics.PLANS.labels(computed.search.outcome).inc()
