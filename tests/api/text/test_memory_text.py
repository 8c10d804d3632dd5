"""Memory as text."""

import pytest

from rackfit.api.answers import Answered, BatchAnswer, Problem, Refused
from rackfit.api.text.memory import batch_answer, memory_answer, memory_table
from rackfit.memory.question import (
    Capacity,
    Cell,
    Fits,
    MemoryAnswer,
    MemoryTable,
    RankMemory,
    Row,
)

GIB = 1 << 30
CONSUMER = Fits(consumer_24gb=True, datacenter_80gb=False, cluster=False)
DATACENTER = Fits(consumer_24gb=False, datacenter_80gb=True, cluster=False)
CLUSTER = Fits(consumer_24gb=False, datacenter_80gb=False, cluster=True)


def rank(number: int, weights: int, budget: int | None = None) -> RankMemory:
    """Return a rank with `weights` GiB of weights and nothing else."""
    return RankMemory(
        rank=number,
        stage=0,
        weights_bytes=weights * GIB,
        kv_cache_bytes=0,
        activation_bytes=0,
        overhead_bytes=0,
        total_bytes=weights * GIB,
        kv_cache_bytes_per_token=0,
        budget_bytes=budget and budget * GIB,
    )


def answer(
    *ranks: RankMemory, feasible: bool | None = None, capacity: Capacity | None = None
) -> MemoryAnswer:
    """Return an answer over `ranks`."""
    total = sum(r.total_bytes for r in ranks)
    return MemoryAnswer(
        total_bytes=total,
        weights_bytes=total,
        kv_cache_bytes=0,
        activation_bytes=0,
        overhead_bytes=0,
        fits=DATACENTER,
        ranks=ranks,
        method="architecture",
        warnings=(),
        feasible=feasible,
        capacity=capacity,
    )


def test_a_table_has_a_row_a_scheme_and_marks_what_fits_where() -> None:
    """GiB with one decimal, contexts with their thousands apart."""
    row = Row("fp8", (Cell(1024, 8 * GIB, CONSUMER), Cell(200_000, 30 * GIB, DATACENTER)))
    text = memory_table(MemoryTable("m", "rule-of-thumb", 0.1, (row,)))
    expected = [
        "m, GiB by context in tokens (rule-of-thumb, 10% overhead)",
        "",
        "GiB  1,024    200,000",
        "fp8    8.0 *     30.0 +",
        "",
        "* fits one GPU of 24 GiB   + one of 80 GiB   . takes several",
    ]
    assert expected == text.splitlines()


def test_more_contexts_than_fit_abreast_go_below() -> None:
    """Fifty contexts are as readable as four."""
    cells = tuple(Cell(n * 1000, GIB, CLUSTER) for n in range(1, 7))
    lines = memory_table(MemoryTable("m", "architecture", 0.1, (Row("fp8", cells),))).splitlines()
    assert ["GiB  1,000    2,000    3,000    4,000", "GiB  5,000    6,000"] == lines[2:6:3]


def test_a_table_without_columns_says_why() -> None:
    """All contexts asked for may be beyond the model's."""
    text = memory_table(MemoryTable("m", "architecture", 0.1, (Row("fp8", ()),)))
    assert "All of these contexts are beyond the model's own." in text


def test_equal_ranks_are_one_line() -> None:
    """Ranks 0 to 2 and 4 are alike, rank 3 is not."""
    ranks = [rank(n, 2 if n == 3 else 1) for n in range(5)]
    lines = [line.split() for line in memory_answer(answer(*ranks)).splitlines()]
    assert ["0-2,", "4", "0", "1.0", "0.0", "0.0", "0.0", "1.0", "-"] in lines
    assert ["3", "0", "2.0", "0.0", "0.0", "0.0", "2.0", "-"] in lines


@pytest.mark.parametrize(
    ("feasible", "verdict"),
    [
        (None, "2.0 GiB on 1 rank: fits one GPU of 80 GiB (architecture)"),
        (True, "FITS: 2.0 GiB on 1 rank (architecture)"),
        (False, "DOES NOT FIT: 2.0 GiB on 1 rank (architecture)"),
    ],
)
def test_the_first_line_is_the_verdict(*, feasible: bool | None, verdict: str) -> None:
    """At 3 a.m. the first line has to do."""
    assert verdict == memory_answer(answer(rank(0, 2), feasible=feasible)).splitlines()[0]


def test_budget_and_capacity_are_shown_where_they_are_known() -> None:
    """What the engine may use of the device, and what is left for the cache."""
    left = Capacity(kv_cache_bytes=3 * GIB, kv_cache_tokens=1_234_560, sequences=9)
    text = memory_answer(answer(rank(0, 2, budget=70), feasible=True, capacity=left))
    assert " 70.0\n" in text
    assert "3.0 GiB on the rank that has least" in text
    assert "1,234,560 tokens a device" in text


def test_a_batch_is_a_line_a_question() -> None:
    """The refused ones say why."""
    refusal = Problem(type="", title="", status=422, detail="There is no model named 'x'.")
    results = (Answered(answer=answer(rank(0, 2), feasible=True)), Refused(problem=refusal))
    expected = [
        "#  STATUS  GiB  RANKS  RESULT",
        "0  200     2.0  1      fits",
        "1  422       -  -      There is no model named 'x'.",
    ]
    assert expected == batch_answer(BatchAnswer(results=results)).splitlines()
