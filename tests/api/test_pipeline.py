"""The one way every request takes, from headers to headers."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from rackfit.settings import Settings
from serving import running

pytestmark = pytest.mark.anyio

MODEL = {"id": "Qwen/Qwen3-8B"}
QUESTION = {"model": MODEL, "workload": {"context_tokens": 4096}}
NODES = [{"name": "a", "accelerator": "NVIDIA-H200", "count": 8}]
PLAN = QUESTION | {"inventory": {"nodes": NODES}}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Run the application in this process."""
    async with running(Settings(compute_processes=1)) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/Qwen/Qwen3-8B/memory", None),
        ("POST", "/v1/memory", QUESTION),
        ("POST", "/v1/plans", PLAN),
        ("POST", "/v1/memory/batch", {"requests": [QUESTION]}),
    ],
)
async def test_an_answer_says_where_it_came_from_and_can_be_revalidated(
    client: httpx.AsyncClient, method: str, target: str, body: object
) -> None:
    """First computed and stored, then from memory, then 304 to who has it already."""
    first = await client.request(method, target, json=body)
    again = await client.request(method, target, json=body)
    known = {"If-None-Match": f'"x", W/{first.headers["etag"]}'}
    current = await client.request(method, target, json=body, headers=known)
    assert "rackfit; fwd=miss; stored" == first.headers["cache-status"]
    assert "rackfit; hit; detail=memory" == again.headers["cache-status"]
    assert (200, first.content) == (again.status_code, again.content)
    assert (304, b"") == (current.status_code, current.content)
    assert "content-type" not in current.headers
    assert 1 == len({r.headers["etag"] for r in (first, again, current)})
    assert {"no-cache"} == {r.headers["cache-control"] for r in (first, again, current)}
    assert {"Accept"} == {r.headers["vary"] for r in (first, again, current)}


async def test_an_outdated_tag_gets_the_answer(client: httpx.AsyncClient) -> None:
    """A tag of another answer is no match."""
    response = await client.get("/v1/version", headers={"If-None-Match": '"other"'})
    assert 200 == response.status_code


async def test_message_pack_says_what_json_says(client: httpx.AsyncClient) -> None:
    """One answer in two encodings, each with its own tag."""
    packed = await client.post("/v1/plans", json=PLAN, headers={"Accept": "application/msgpack"})
    plain = await client.post("/v1/plans", json=PLAN)
    assert plain.json() == msgspec.msgpack.decode(packed.content)
    assert "application/msgpack" == packed.headers["content-type"]
    assert plain.headers["etag"] != packed.headers["etag"]


async def test_a_problem_points_at_the_field(client: httpx.AsyncClient) -> None:
    """The document has type, status, path, request id and a pointer."""
    wrong = PLAN | {"inventory": {"nodes": [NODES[0] | {"count": "8"}]}}
    response = await client.post("/v1/plans", json=wrong, headers={"X-Request-Id": "r1"})
    detail = "`count` must be a whole number from 1 to 1,024, not text."
    expected = {
        "type": "urn:rackfit:problem:invalid-input",
        "title": "The request is well formed but wrong",
        "status": 422,
        "detail": detail,
        "instance": "/v1/plans",
        "request_id": "r1",
        "errors": [{"pointer": "/inventory/nodes/0/count", "detail": detail}],
    }
    assert expected == response.json()
    assert "no-store" == response.headers["cache-control"]


async def test_a_batch_is_answered_question_by_question(client: httpx.AsyncClient) -> None:
    """Each is decoded, answered or refused on its own, in the order asked."""
    requests = [
        QUESTION,
        QUESTION | {"model": {"id": "Qwen/Qwen3-9B"}},
        {"model": MODEL},
        "text",
        QUESTION | {"workload": {"context_tokens": 4096.0}},
    ]
    response = await client.post("/v1/memory/batch", json={"requests": requests})
    alone = (await client.post("/v1/memory", json=QUESTION)).json()
    results = response.json()["results"]
    assert [200, 422, 422, 422, 200] == [result["status"] for result in results]
    assert [alone, alone] == [results[0]["answer"], results[4]["answer"]]
    pointers = [result["problem"]["errors"][0]["pointer"] for result in results[1:4]]
    assert ["/model/id", "/workload", ""] == pointers


async def test_a_search_cut_short_is_neither_kept_nor_tagged() -> None:
    """No time at all still gives an answer, or a 503 that says when to try again."""
    async with running(Settings(compute_processes=1, request_timeout_seconds=0.001)) as client:
        response = await client.post("/v1/plans", json=PLAN)
    if response.status_code == 200:
        assert response.json()["complete"] is False
        assert "etag" not in response.headers
        assert "rackfit; fwd=miss; detail=incomplete" == response.headers["cache-status"]
    else:
        assert (503, "1") == (response.status_code, response.headers["retry-after"])


async def test_a_free_form_config_beyond_reason_is_refused(client: httpx.AsyncClient) -> None:
    """A config is walked by readers only when it could be one."""
    config = {"model_type": "llama", "num_hidden_layers": 10**30}
    response = await client.post("/v1/models/inspect", json={"model": {"config": config}})
    assert (422, "/model/config") == (
        response.status_code,
        response.json()["errors"][0]["pointer"],
    )
