"""Engines' own logs: what they load, what they leave for the cache, and what does not start."""

import json
import re
from statistics import median

import pytest

import truths
from documents import ROOT

QUESTIONS = json.loads((truths.DATA / "engine_case_questions.json").read_text())
CASES = [case["id"] for case in truths.cases("engine_cases.json")]
GGUF = {case["id"] for case in truths.cases("engine_cases.json") if case["engine"] == "llama.cpp"}


def figures() -> list[truths.Figure]:
    """Return every comparison."""
    return [*truths.vllm_figures(), *truths.tensorrt_figures(), *truths.engine_figures()]


@pytest.mark.parametrize("figure", figures(), ids=lambda f: f"{f.case} {f.quantity}")
def test_figure_is_as_near_as_it_must_be(figure: truths.Figure) -> None:
    """Weights within 0.5 % or 0.05 GiB, caches within 3 %, batches within one or 2 %."""
    assert figure.theirs == pytest.approx(figure.ours, abs=figure.allowed)


@pytest.mark.parametrize("quantity", ["KV GiB", "KV tokens"])
def test_half_of_all_starts_are_within_one_per_cent(quantity: str) -> None:
    """The median error over vLLM's start-ups is at most 1 %."""
    errors = [f.error for f in truths.vllm_figures() if f.quantity == quantity]
    assert len(errors) == 38
    assert median(errors) <= 0.01


@pytest.mark.parametrize(
    ("case", "answer"), list(truths.refusals()), ids=lambda value: str(value)[:40]
)
def test_what_did_not_start_is_refused(case: str, answer: truths.MemoryAnswer) -> None:
    """A configuration whose engine refused to start is not feasible, and the answer says why."""
    assert answer.feasible is False, case
    assert answer.rejections


def test_every_case_is_compared_or_explained() -> None:
    """No engine case is passed over in silence: docs/accuracy.md says why for each left out."""
    text = (ROOT / "docs/accuracy.md").read_text()
    explained = set(re.findall(r"^\| `([\w.-]+)` \|", text, flags=re.MULTILINE))
    assert explained == set(CASES) - set(QUESTIONS) - GGUF


def test_terms_of_the_largest_rank_sum_to_its_total() -> None:
    """What the answer explains is all there is."""
    for case in QUESTIONS.values():
        answer = truths.ask(case["question"])
        assert answer.largest_rank is not None
        largest = answer.ranks[answer.largest_rank.rank]
        assert sum(term.bytes for term in answer.terms) == largest.total_bytes
