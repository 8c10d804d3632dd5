"""Who may come in, seen by those who ask over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from rackfit.access.keys import new_key
from rackfit.api.guard import OPEN_PATHS
from rackfit.api.operations import OPERATIONS
from rackfit.settings import Settings, read_settings
from serving import running

pytestmark = pytest.mark.anyio
MEMORY = {"model": {"id": "Qwen/Qwen3-32B"}, "workload": {"context_tokens": 4096}}


def kept(directory: Path, *lines: str) -> Settings:
    """Return settings with a file of these keys."""
    file = directory / "api-keys"
    file.write_text("\n".join(lines))
    return Settings(api_keys_file=file)


def bearer(key: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


async def statuses(settings: Settings, *asked: tuple[str, str, dict[str, str]]) -> list[int]:
    """Ask one thing after the other; return the statuses."""
    async with running(settings) as client:
        return [
            (await client.request(method, path, headers=headers)).status_code
            for method, path, headers in asked
        ]


async def test_without_keys_nobody_is_asked() -> None:
    """As on loopback."""
    assert [200] == await statuses(Settings(), ("GET", "/v1/models", {}))


async def test_strangers_are_turned_away_before_anything_else(tmp_path: Path) -> None:
    """Whatever they ask, and whether it is there or not; only probes and metrics answer them."""
    settings = kept(tmp_path, new_key("a", ["read"])[1])
    async with running(settings) as client:
        for operation in OPERATIONS:
            path = operation.path.format_map({"id": "x"})
            reply = await client.request(operation.method, path)
            if operation.scope is None:
                assert reply.status_code == 200, path
                assert path in OPEN_PATHS
            else:
                assert reply.status_code == 401, path
                assert reply.headers["www-authenticate"] == 'Bearer realm="rackfit"'
                assert reply.json()["type"] == "urn:rackfit:problem:unauthorized"
        assert (await client.get("/no/such/path")).status_code == 401
        assert (await client.get("/health/live/")).status_code == 200


@pytest.mark.parametrize(
    "shown",
    [
        "Bearer rackfit_guessed",
        "Bearer ey.J.hb",
        "Bearer",
        "Bearer ",
        "Basic cmFja2ZpdDp4",
        "rackfit_guessed",
        "Bearer \u00ff",
        "",
    ],
)
async def test_what_is_no_key_here_is_a_401(tmp_path: Path, shown: str) -> None:
    """And the challenge says that it was a wrong one."""
    settings = kept(tmp_path, new_key("a", ["read"])[1])
    headers = [(b"authorization", shown.encode("latin-1"))]
    async with running(settings) as client:
        reply = await client.get("/v1/models", headers=headers)
    assert reply.status_code == 401
    assert "error=" in reply.headers["www-authenticate"]


async def test_two_credentials_are_none(tmp_path: Path) -> None:
    """Nobody can tell which was meant."""
    key, line = new_key("a", ["read"])
    twice = [("Authorization", f"Bearer {key}")] * 2
    async with running(kept(tmp_path, line)) as client:
        assert (await client.get("/v1/models", headers=twice)).status_code == 401


async def test_scopes_say_what_a_caller_may(tmp_path: Path) -> None:
    """Reading is not planning; a larger scope holds the smaller."""
    keys = {scope: new_key(scope, [scope]) for scope in ("read", "plan", "admin")}
    async with running(kept(tmp_path, *(line for _, line in keys.values()))) as client:
        for scope, (key, _) in keys.items():
            read = await client.get("/v1/models", headers=bearer(key))
            planned = await client.post("/v1/memory", json=MEMORY, headers=bearer(key))
            assert (read.status_code, planned.status_code) == (200, 403 if scope == "read" else 200)
    async with running(kept(tmp_path, keys["read"][1])) as client:
        refused = await client.post("/v1/memory", json=MEMORY, headers=bearer(keys["read"][0]))
    assert 'error="insufficient_scope", scope="plan"' in refused.headers["www-authenticate"]
    assert "`plan`" in refused.json()["detail"]


async def test_the_case_of_bearer_does_not_matter(tmp_path: Path) -> None:
    """RFC 7235 has it so."""
    key, line = new_key("a", ["read"])
    shown = {"Authorization": f"bearer   {key}"}
    assert [200] == await statuses(kept(tmp_path, line), ("GET", "/v1/models", shown))


async def test_a_caller_is_named_in_the_log_and_a_secret_never(tmp_path: Path) -> None:
    """Neither a known key nor a wrong one."""
    key, line = new_key("scheduler", ["plan"])
    with capture_logs() as logs:
        async with running(kept(tmp_path, line)) as client:
            await client.get("/v1/version", headers=bearer(key))
            await client.get("/v1/version", headers=bearer("rackfit_wrong-one"))
    lines = [entry for entry in logs if entry["event"] == "request"]
    assert [entry.get("caller") for entry in lines] == ["scheduler", None]
    assert not any(secret in repr(logs) for secret in (key, "wrong-one"))


async def test_too_often_is_a_429_that_says_when(tmp_path: Path) -> None:
    """Each caller for itself; probes are not counted."""
    (one, first), (two, second) = new_key("one", ["read"]), new_key("two", ["read"])
    limited = msgspec.structs.replace(
        kept(tmp_path, first, second), rate_limit_per_second=0.01, rate_limit_burst=2
    )
    async with running(limited) as client:
        mine = [await client.get("/v1/version", headers=bearer(one)) for _ in range(3)]
        other = await client.get("/v1/version", headers=bearer(two))
        probes = [await client.get("/health/live") for _ in range(5)]
    assert [200, 200, 429] == [reply.status_code for reply in mine]
    assert 1 <= int(mine[-1].headers["retry-after"]) <= 100
    assert mine[-1].json()["type"] == "urn:rackfit:problem:too-many-requests"
    assert {200} == {reply.status_code for reply in (other, *probes)}


async def test_without_keys_addresses_are_counted() -> None:
    """Who has no name has an address."""
    limited = Settings(rate_limit_per_second=0.01, rate_limit_burst=1)
    asked = ("GET", "/v1/version", dict[str, str]())
    assert [200, 429] == await statuses(limited, asked, asked)


ORIGIN = "https://dash.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


@pytest.fixture(name="shared")
async def _shared(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A service that shares its answers with one page, and a key."""
    key, line = new_key("a", ["plan"])
    settings = msgspec.structs.replace(kept(tmp_path, line), cors_origins=(ORIGIN,))
    async with running(settings) as client:
        yield client, key


async def test_a_page_that_is_named_may_read(shared: tuple[httpx.AsyncClient, str]) -> None:
    """The browser asks first, without a key, and then with it."""
    client, key = shared
    asked = await client.options("/v1/plans", headers=PREFLIGHT)
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in asked.headers["access-control-allow-headers"]
    read = await client.get("/v1/version", headers={"Origin": ORIGIN, **bearer(key)})
    assert read.headers["access-control-allow-origin"] == ORIGIN
    assert "Origin" in read.headers.get_list("vary", split_commas=True)
    assert "access-control-allow-credentials" not in read.headers


async def test_other_pages_may_not(shared: tuple[httpx.AsyncClient, str]) -> None:
    """Nothing tells a browser that it may show them the answer."""
    client, key = shared
    evil = {"Origin": "https://dash.example.evil"}
    asked = await client.options("/v1/plans", headers={**PREFLIGHT, **evil})
    read = await client.get("/v1/version", headers={**evil, **bearer(key)})
    assert asked.status_code == 401
    assert "access-control-allow-origin" not in {**asked.headers, **read.headers}


async def test_sharing_is_off_by_default() -> None:
    """No page may read, and answers do not vary with who asks."""
    async with running(Settings()) as client:
        reply = await client.get("/v1/version", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in reply.headers
    assert "Origin" not in reply.headers.get_list("vary", split_commas=True)


@pytest.mark.parametrize("path", ["/v1/version", "/docs", "/no/such/path", "/metrics"])
async def test_every_answer_keeps_browsers_in_bounds(path: str) -> None:
    """No guessing of types, no referrer, no frames, nothing loaded; one policy each."""
    async with running(Settings()) as client:
        headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert len(headers.get_list("content-security-policy")) == 1
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RACKFIT_JWKS_FILE": "/x"}, "RACKFIT_JWT_AUDIENCE"),
        ({"RACKFIT_CORS_ORIGINS": "*"}, "each .* must be .* like https://host:port"),
        ({"RACKFIT_CORS_ORIGINS": "https://a.example/path"}, "RACKFIT_CORS_ORIGINS"),
        ({"RACKFIT_RATE_LIMIT_PER_SECOND": "-1"}, "RACKFIT_RATE_LIMIT_PER_SECOND"),
        ({"RACKFIT_INSECURE": "perhaps"}, "must be true or false"),
    ],
)
def test_settings_that_would_open_a_door_are_refused(
    environment: dict[str, str], said: str
) -> None:
    """Each by its name."""
    with pytest.raises(ValueError, match=said):
        read_settings(environment)


def test_a_list_of_origins_is_read_by_commas() -> None:
    """Blanks between them are nothing."""
    settings = read_settings({"RACKFIT_CORS_ORIGINS": "https://a.example, http://b:8080"})
    assert settings.cors_origins == ("https://a.example", "http://b:8080")
