"""What schemathesis is told beside its configuration: media types, and a check of our own."""

import re
from itertools import cycle

import msgspec
import schemathesis
from schemathesis import Case, CheckContext, Response

MEDIA_TYPES = cycle(("application/json", "application/msgpack", "text/plain", "*/*"))
LINKED = cycle(("application/json", "application/msgpack"))
"""By turns; links are followed with what an answer holds, which text does not tell."""
FOREIGN = "/v1/inventories/normalize"
"""Its body is what another tool printed: the contract says no more than that it is text."""
OF_FORM = re.compile(r"` must be |` is missing|There is no field|may have at most")


@schemathesis.deserializer("application/msgpack")
def unpacked(_context: object, response: Response) -> object:
    """Read MessagePack, so that it is held to the same schemas as JSON."""
    return msgspec.msgpack.decode(response.content)


@schemathesis.hook
def before_call(_context: object, case: Case, _arguments: object) -> None:
    """Ask for each media type by turns."""
    stateful = case.meta is not None and case.meta.phase.name == "stateful"
    case.headers.setdefault("Accept", next(LINKED if stateful else MEDIA_TYPES))


@schemathesis.check
def refused_for_meaning_only(_context: CheckContext, response: Response, case: Case) -> None:
    """What keeps to its schema is never refused for its form: schema and decoder say the same."""
    valid = case.meta is not None and case.meta.generation.mode.is_positive
    if valid and response.status_code in (413, 422) and case.operation.path != FOREIGN:
        refusal = response.content.decode()
        assert not OF_FORM.search(refusal), refusal
