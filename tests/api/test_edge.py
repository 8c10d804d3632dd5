"""The outermost layer: what every request gets, whatever becomes of it."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from counting import Counted
from rackfit.settings import Settings
from serving import running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Run the application in this process."""
    async with running(Settings(compute_processes=1)) as client:
        yield client


async def test_requests_are_counted_by_route_status_and_cache(
    client: httpx.AsyncClient, counted: Counted
) -> None:
    """The route is the template; the cache outcome tells hits from misses."""
    for _ in range(3):
        await client.get("/v1/models/Qwen/Qwen3-8B")
    labels = {"method": "GET", "route": "/v1/models/{id}", "status": "200"}
    assert 1 == counted("rackfit_http_requests_total", cache="computed", **labels)
    assert 2 == counted("rackfit_http_requests_total", cache="memory", **labels)
    assert 2 == counted(
        "rackfit_http_request_duration_seconds_count",
        method="GET",
        route="/v1/models/{id}",
        cache="memory",
    )


async def test_unmatched_paths_share_one_route(client: httpx.AsyncClient, counted: Counted) -> None:
    """No caller can make labels with paths or methods."""
    for n in range(5):
        await client.get(f"/nothing/{n}")
    await client.request("BREW", "/nothing")
    labels = {"route": "unmatched", "status": "404", "cache": "none"}
    assert 5 == counted("rackfit_http_requests_total", method="GET", **labels)
    assert 1 == counted("rackfit_http_requests_total", method="other", **labels)


async def test_requests_in_progress_come_back_to_none(
    client: httpx.AsyncClient, counted: Counted
) -> None:
    """The gauge falls as it rose, refusals included."""
    for target in ("/health/live", "/nothing"):
        await client.get(target)
    assert 0 == counted("rackfit_http_requests_in_progress")


async def test_a_bug_is_a_500_that_tells_nothing_and_is_logged(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The caller gets a problem document with the request id, the log the traceback."""

    def fail(*_: object) -> None:
        msg = "a secret detail"
        raise LookupError(msg)

    monkeypatch.setattr("rackfit.api.answering.compute", fail)
    response = await client.get("/v1/version", headers={"X-Request-Id": "bug-1"})
    assert (500, "application/problem+json") == (
        response.status_code,
        response.headers["content-type"],
    )
    assert "bug-1" == response.json()["request_id"]
    assert "secret" not in response.text
    logged = capsys.readouterr()
    assert "a secret detail" in logged.out + logged.err


async def test_metrics_are_exposed(client: httpx.AsyncClient) -> None:
    """What is scraped is the text format, with what is running."""
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "rackfit_build_info{" in response.text


async def test_readiness_tells_the_condition_of_the_parts(client: httpx.AsyncClient) -> None:
    """Cache tiers, Redis and the pool are all there."""
    ready = (await client.get("/health/ready")).json()
    assert ready["ready"] is True
    assert ready["cache"]["redis"] is None
    assert {"processes": 1, "in_progress": 0, "limit": 65} == ready["compute"]


async def test_health_is_never_kept(client: httpx.AsyncClient) -> None:
    """A cache in between must ask each time."""
    response = await client.get("/health/live")
    assert ("no-store", None) == (
        response.headers["cache-control"],
        response.headers.get("etag"),
    )
    assert {"status": "live"} == json.loads(response.text)
