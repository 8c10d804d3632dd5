"""A problem as it goes out: as JSON, or as text to those who prefer that."""

from urllib.parse import quote

import msgspec

from rackfit.api.negotiation import MAX_ACCEPT, negotiate
from rackfit.api.operation import JSON, TEXT
from rackfit.api.problems import PROBLEM_JSON, RequestError, encode_json
from rackfit.api.representation import TEXT_UTF_8, encode_text
from rackfit.api.text.service import problem as problem_text


class Refused(msgspec.Struct, frozen=True):
    """A response that is a problem document."""

    status: int
    headers: dict[str, str]
    content: bytes


def refusal(error: RequestError, *, path: str, request_id: str, accept: str) -> Refused:
    """Make the response to a request that is refused.

    Args:
        error: Why.
        path: The decoded path that was asked for, `""` where it could not be read.
        request_id: The id the log has.
        accept: The Accept header, `""` where there is none.
    """
    problem = msgspec.structs.replace(
        error.problem, instance=quote(path) or None, request_id=request_id
    )
    content, media_type = encode_json(problem), PROBLEM_JSON
    read = accept if len(accept) <= MAX_ACCEPT else ""
    if negotiate(read, (PROBLEM_JSON, JSON, TEXT)) == TEXT:
        content, media_type = encode_text(problem_text(problem)), TEXT_UTF_8
    headers = {
        **error.headers,
        "Content-Type": media_type,
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    return Refused(problem.status, headers, content)
