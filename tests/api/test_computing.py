"""From a request's canonical form to its answer, here or in a worker."""

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackfit.api import worker
from rackfit.api.answers import Ready
from rackfit.api.closing import Closing
from rackfit.api.computing import Job, canonicalise, compute
from rackfit.api.operation import JSON, Context
from rackfit.api.operations import BY_ID, OPERATIONS
from rackfit.api.pool import ComputePool
from rackfit.api.problems import RequestError
from rackfit.catalog import Catalog
from rackfit.settings import Settings

MODEL = {"id": "Qwen/Qwen3-8B"}
QUESTION = {"model": MODEL, "workload": {"context_tokens": 4096}}
NODES = [{"name": "a", "accelerator": "NVIDIA-H200", "count": 8}]
BODIES = {
    "inspect_model": {"model": MODEL},
    "answer_memory": QUESTION | {"split": {"tensor": 2}, "accelerator": "NVIDIA-H200"},
    "answer_memory_batch": {"requests": [QUESTION]},
    "create_plan": QUESTION | {"inventory": {"nodes": NODES}},
}


def in_time() -> bool:
    """Tell that there is time left."""
    return False


def job(operation_id: str) -> Job:
    """Return the job of a valid request."""
    body = json.dumps(BODIES[operation_id]).encode()
    canonical = canonicalise(BY_ID[operation_id], b"", body)
    return Job(operation_id, {}, canonical, JSON)


@pytest.fixture
def context(catalog: Catalog) -> Context:
    """Return what a serving process computes with."""

    def condition() -> Ready:
        raise AssertionError

    return Context(
        settings=Settings(),
        catalog=catalog,
        expired=lambda: False,
        operations=OPERATIONS,
        condition=condition,
    )


@pytest.mark.parametrize("operation_id", BODIES)
def test_the_canonical_form_is_its_own(operation_id: str) -> None:
    """Canonicalising twice changes nothing, so every spelling ends at one form."""
    operation = BY_ID[operation_id]
    canonical = job(operation_id).request
    assert canonical == canonicalise(operation, b"", canonical.body)


@given(st.permutations(list(QUESTION.items())), st.sampled_from([None, 1, 4]))
def test_order_and_white_space_do_not_matter(
    items: list[tuple[str, object]], indent: int | None
) -> None:
    """However the same question is spelled, its canonical form is the same."""
    operation = BY_ID["answer_memory"]
    spelled = json.dumps(dict(items), indent=indent).encode()
    expected = canonicalise(operation, b"", json.dumps(QUESTION).encode())
    assert expected == canonicalise(operation, b"", spelled)


def test_a_query_is_canonical_too() -> None:
    """Defaults and order of parameters do not matter."""
    operation = BY_ID["list_models"]
    expected = canonicalise(operation, b"family=qwen&limit=100", b"")
    assert expected == canonicalise(operation, b"limit=100&offset=0&family=qwen", b"")


@pytest.mark.parametrize(
    ("body", "heavy"),
    [
        (QUESTION, False),
        (QUESTION | {"split": {"tensor": 8}}, False),
        (QUESTION | {"split": {"tensor": 8, "replicas": 100}}, True),
        (QUESTION | {"model": {"config": {"model_type": "llama"}}}, True),
    ],
)
def test_questions_that_take_long_are_told_apart(body: dict[str, object], heavy: bool) -> None:  # noqa: FBT001 - a parametrised value
    """Many ranks and configs of the caller's own leave the event loop."""
    canonical = canonicalise(BY_ID["answer_memory"], b"", json.dumps(body).encode())
    assert heavy == canonical.heavy


@pytest.mark.anyio
@pytest.mark.parametrize("operation_id", BODIES)
async def test_a_worker_answers_what_the_serving_process_would(
    operation_id: str, context: Context
) -> None:
    """The same bytes, whichever process computed them."""
    asked = job(operation_id)
    here = compute(context, BY_ID[operation_id], asked, in_time)
    pool = ComputePool(Settings(compute_processes=1), Closing())
    try:
        there = await pool.run(30, partial(worker.compute_job, Settings(), asked))
    finally:
        pool.close()
    assert (here.content, here.media_type, here.complete) == (
        there.content,
        there.media_type,
        there.complete,
    )


@pytest.mark.parametrize("operation_id", BODIES)
def test_a_job_that_comes_too_late_is_refused(operation_id: str, context: Context) -> None:
    """What waited past its deadline is not begun."""
    with pytest.raises(RequestError) as caught:
        compute(context, BY_ID[operation_id], job(operation_id), lambda: True)
    assert 503 == caught.value.problem.status


def test_a_refusal_of_the_domain_is_a_problem(context: Context) -> None:
    """What the domain raises comes out as its problem document."""
    operation = BY_ID["answer_memory"]
    body = json.dumps(QUESTION | {"model": {"id": "nothing"}}).encode()
    canonical = canonicalise(operation, b"", body)
    with pytest.raises(RequestError) as caught:
        compute(context, operation, Job(operation.id, {}, canonical, JSON), in_time)
    assert "/model/id" == caught.value.problem.errors[0].pointer
