"""What callers write is read at a cost in proportion to its length, not to its square.

Expressions that try again from every character are the usual way to hold a process for minutes
with a line of text. Each text here once did, or would if the reader were written carelessly. Only
the ratio of two times in one run is looked at: 16 times the text, 256 times the work if it were
the square.
"""

import contextlib
import time
from collections.abc import Callable

import pytest

from catalog.shipped import INDEX
from rackfit.api.conditional import is_current
from rackfit.api.problems import RequestError
from rackfit.api.queries import decode_query
from rackfit.api.violations import body_error
from rackfit.architecture.familiarity import matters
from rackfit.catalog.spelling import fold, fraction, without_gres
from rackfit.errors import RackfitError
from rackfit.inventory import nvidia_smi_table, slurm_records
from rackfit.memory.question import MemoryRequest
from rackfit.server.methods import unknown_method

TIMES_LONGER = 16
LINEAR_OR_SO = 64.0
"""Four times what is right and a quarter of what is wrong, for a machine with other work."""
ROUNDS = 5

BLANKS = ("{}!", " ")
BRACKETS = ("{}", "[")


def unknown_field(name: str) -> None:
    """Put msgspec's sentence about an unknown field into our words."""
    body_error(f"Object contains unknown field `{name}`", MemoryRequest)


READERS: list[tuple[Callable[[str], object], tuple[str, str]]] = [
    (lambda text: is_current(text, '"b"'), ('"a",{}!', " ")),
    (lambda text: is_current(text, '"b"'), ("{}", 'W/"')),
    (lambda text: matters("/" + text), ("{}\n", "scale_dropout_loss")),
    (lambda text: matters("/" + text), ("{}", "token_")),
    (nvidia_smi_table.parse, BLANKS),
    (nvidia_smi_table.parse, BRACKETS),
    (slurm_records.parse, ("NodeName={}", "a NodeName=")),
    (slurm_records.parse, ("NodeName=a {}!", " ")),
    (slurm_records.gres, ("{}", "gpu:a:1(")),
    (slurm_records.gres, ("{}", "gpu:")),
    (without_gres, ("{}", "gpu:a:1(")),
    (fold, ("{}", "(tm")),
    (fraction, ("{}", "-00")),
    (fraction, ("{}", "0g.")),
    (INDEX.resolve, ("h100{}x", "1")),
    (INDEX.resolve, ("h100{}x", "80gb")),
    (INDEX.resolve, ("h100{}-", "-80")),
    (INDEX.resolve, ("h100{}", "sxm5")),
    (lambda text: unknown_method(text.encode()), ("{}", "A ")),
    (lambda text: unknown_method(text.encode()), ("A {}", "x")),
    (lambda text: unknown_method(text.encode()), ("{}", "GET / HTTP/1.1\r\n")),
    (unknown_field, ("{}", " - at `$.a[0]")),
    (lambda text: decode_query(text.encode(), None), ("{}", "%2")),
    (lambda text: decode_query(text.encode(), None), ("{}", "a=&")),
]


@pytest.mark.parametrize(("read", "shape"), READERS)
def test_long_text_costs_its_length(read: Callable[[str], object], shape: tuple[str, str]) -> None:
    """Text 16 times as long takes about 16 times as long to read, or to refuse."""
    frame, unit = shape
    short, long = (frame.format(unit * (size // len(unit))) for size in (500, 500 * TIMES_LONGER))
    assert seconds(read, long) / seconds(read, short) < LINEAR_OR_SO


def seconds(read: Callable[[str], object], text: str) -> float:
    """Return the processor time of the fastest of a few readings, refusals included."""
    taken = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        with contextlib.suppress(RackfitError, RequestError):
            read(text)
        taken.append(time.thread_time() - start)
    return min(taken)
