"""Every answer as text: 80 columns, nothing that steers a terminal, the figures in place."""

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackfit.api.answers import Problem
from rackfit.api.operation import Document, Operation, as_indented_json
from rackfit.api.operations import OPERATIONS
from rackfit.api.text.screen import COLUMNS, width
from rackfit.api.text.service import problem
from rackfit.engines.split import Split
from rackfit.memory.question import Cell, MemoryTable, Row
from structs import TEXT, values

NEGOTIATED = [operation for operation in OPERATIONS if operation.answer is not Document]
SPLITS = st.builds(Split, tensor=st.sampled_from([1, 2, 65536]), pipeline=st.integers(1, 65536))
TABLES = st.integers(0, 6).flatmap(
    lambda columns: st.builds(
        MemoryTable,
        TEXT,
        st.sampled_from(["architecture", "rule-of-thumb"]),
        st.floats(0, 10),
        st.lists(st.builds(Row, TEXT, st.tuples(*[values(Cell)] * columns)), min_size=1),
    )
)
KNOWN = {Split: SPLITS, MemoryTable: TABLES}


def misfits(text: str) -> list[str]:
    """Return the lines that are too wide or hold what a terminal would obey."""
    return [
        line
        for line in text.split("\n")
        if width(line) > COLUMNS or any(unicodedata.category(c)[0] == "C" for c in line)
    ]


@pytest.mark.parametrize("operation", NEGOTIATED, ids=lambda operation: operation.id)
def test_every_answer_has_a_text_of_its_own(operation: Operation) -> None:
    """Operators get tables from every operation, not indented JSON."""
    assert as_indented_json is not operation.text


@pytest.mark.parametrize("operation", NEGOTIATED, ids=lambda operation: operation.id)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_no_line_is_too_wide_or_unsafe(operation: Operation, data: st.DataObject) -> None:
    """Whatever names and figures an answer holds, 80 columns take it and stay as they were."""
    text = operation.text(data.draw(values(operation.answer, KNOWN)))
    assert [] == misfits(text)
    assert text.endswith("\n")


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values(Problem))
def test_problems_fit_the_screen_too(given_problem: Problem) -> None:
    """A refusal quotes the caller, who may be hostile."""
    assert [] == misfits(problem(given_problem))
