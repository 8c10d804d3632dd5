"""Memory as text: a model's table, one answer rank by rank, a batch."""

from collections.abc import Sequence

import msgspec

from rackfit.api.answers import Answered, BatchAnswer, Refused
from rackfit.api.text.figures import NONE, count, ranges, things
from rackfit.api.text.rejections import rejections
from rackfit.api.text.table import Lines, facts, page, paragraph, sentences, table
from rackfit.memory.question import (
    Capacity,
    Cell,
    Fits,
    MemoryAnswer,
    MemoryTable,
    RankMemory,
    Row,
    gib,
)

CONTEXTS_ABREAST = 4
LEGEND = "* fits one GPU of 24 GiB   + one of 80 GiB   . takes several"


def memory_table(answer: MemoryTable) -> str:
    """A row a quantization, a column a context, in GiB; four columns abreast."""
    overhead = f", {answer.overhead:.0%} overhead" if answer.method == "rule-of-thumb" else ""
    return page(
        paragraph(f"{answer.model}, GiB by context in tokens ({answer.method}{overhead})"),
        *(_blocks(answer.rows) or [["All of these contexts are beyond the model's own."]]),
        [LEGEND],
        sentences("Warnings", answer.warnings),
    )


def _blocks(rows: Sequence[Row]) -> list[Lines]:
    reached = len(rows[0].cells)
    return [
        _block(rows, slice(start, start + CONTEXTS_ABREAST))
        for start in range(0, reached, CONTEXTS_ABREAST)
    ]


def _block(rows: Sequence[Row], abreast: slice) -> Lines:
    titles = [f">{count(cell.context_tokens)}  " for cell in rows[0].cells[abreast]]
    lines = [(row.quantization, *map(_cell, row.cells[abreast])) for row in rows]
    return table(("GiB", *titles), lines)


def _cell(cell: Cell) -> str:
    return f"{gib(cell.total_bytes)} {_mark(cell.fits)}"


def _mark(fits: Fits) -> str:
    if fits.consumer_24gb:
        return "*"
    return "+" if fits.datacenter_80gb else "."


def memory_answer(answer: MemoryAnswer) -> str:
    """The verdict, the five sums, the ranks, and what is left."""
    return page(
        paragraph(_verdict(answer)),
        _sums(answer),
        _ranks(answer.ranks),
        capacity(answer.capacity) if answer.capacity else [],
        rejections("Why not", answer.rejections or ()),
        sentences("Warnings", answer.warnings),
    )


def _verdict(answer: MemoryAnswer) -> str:
    total = f"{gib(answer.total_bytes)} GiB on {things(len(answer.ranks), 'rank')}"
    if answer.feasible is None:
        return f"{total}: {_smallest(answer.fits)} ({answer.method})"
    return f"{'FITS' if answer.feasible else 'DOES NOT FIT'}: {total} ({answer.method})"


def _smallest(fits: Fits) -> str:
    if fits.consumer_24gb:
        return "fits one GPU of 24 GiB"
    return "fits one GPU of 80 GiB" if fits.datacenter_80gb else "takes several GPUs"


def _sums(answer: MemoryAnswer) -> Lines:
    parts = {
        "weights": answer.weights_bytes,
        "KV cache": answer.kv_cache_bytes,
        "activations": answer.activation_bytes,
        "overhead": answer.overhead_bytes,
        "total": answer.total_bytes,
    }
    return table(
        ("ALL RANKS", ">GiB", ">BYTES"),
        [(name, gib(size), count(size)) for name, size in parts.items()],
    )


def _ranks(ranks: Sequence[RankMemory]) -> Lines:
    """A row a kind of rank: equal ones are folded into one."""
    alike: dict[RankMemory, list[int]] = {}
    for rank in ranks:
        alike.setdefault(msgspec.structs.replace(rank, rank=0), []).append(rank.rank)
    titles = ("RANKS", ">STAGE", ">WEIGHTS", ">KV", ">ACTIV", ">OVERH", ">GiB EACH", ">BUDGET")
    return table(titles, [_rank(kind, numbers) for kind, numbers in alike.items()])


def _rank(rank: RankMemory, numbers: Sequence[int]) -> tuple[str, ...]:
    return (
        ranges(numbers),
        str(rank.stage),
        gib(rank.weights_bytes),
        gib(rank.kv_cache_bytes),
        gib(rank.activation_bytes),
        gib(rank.overhead_bytes),
        gib(rank.total_bytes),
        NONE if rank.budget_bytes is None else gib(rank.budget_bytes),
    )


def capacity(left: Capacity) -> Lines:
    """What is left for KV cache."""
    return facts(
        (
            ("KV cache", f"{gib(left.kv_cache_bytes)} GiB on the rank that has least"),
            ("", f"{left.kv_cache_tokens:,} tokens a device, in whole blocks"),
            ("sequences", f"{left.sequences:,} at this context over the whole deployment"),
        )
    )


def batch_answer(answer: BatchAnswer) -> str:
    """A line a question, in the order asked."""
    return page(
        table(
            ("#", "STATUS", ">GiB", "RANKS", "RESULT"),
            [_result(number, result) for number, result in enumerate(answer.results)],
        )
    )


def _result(number: int, result: Answered | Refused) -> tuple[str, ...]:
    if isinstance(result, Refused):
        return (str(number), "422", NONE, NONE, result.problem.detail)
    answer = result.answer
    codes = ", ".join(r.code for r in answer.rejections or ())
    said = _smallest(answer.fits) if answer.feasible is None else codes or "fits"
    return (str(number), "200", gib(answer.total_bytes), count(len(answer.ranks)), said)
