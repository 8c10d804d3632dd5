"""The service itself as text."""

import msgspec

from rackfit.api.answers import (
    CacheCondition,
    ComputeCondition,
    Live,
    MemoryTier,
    Problem,
    Ready,
    Version,
)
from rackfit.api.text.service import live, problem, ready, version
from rackfit.caching.redis_store import RedisState
from rackfit.errors import Violation


def readiness(redis: RedisState | None) -> Ready:
    """Return the condition of a process that is ready."""
    return Ready(
        ready=True,
        version="1.0.0",
        catalog_digest="abc",
        cache=CacheCondition(memory=MemoryTier(entries=1_200, held_bytes=1 << 29), redis=redis),
        compute=ComputeCondition(processes=2, in_progress=1, limit=66),
    )


def test_version_is_three_lines() -> None:
    """Release, which catalog, and which tables of kernels there are."""
    answer = Version(version="1.0.0", catalog_digest="abc", catalog_date="2026-10-01")
    bare = "rackfit        1.0.0\ncatalog        abc of 2026-10-01\nkernel tables  none\n"
    assert bare == version(answer)
    tabled = msgspec.structs.replace(answer, kernel_tables="0.12.0")
    assert bare.replace("none", "0.12.0") == version(tabled)


def test_liveness_is_a_word() -> None:
    """A shell compares it."""
    assert "live\n" == live(Live())


def test_readiness_tells_the_condition_of_each_part() -> None:
    """The first line has the verdict."""
    expected = [
        "ready    yes",
        "rackfit  1.0.0, catalog abc",
        "cache    1,200 answers, 0.5 GiB",
        "redis    none configured",
        "compute  2 worker processes",
        "         1 of at most 66 in progress",
    ]
    assert expected == ready(readiness(None)).splitlines()


def test_readiness_tells_what_redis_last_suffered() -> None:
    """Its circuit, the kind of the last error and how long ago that was."""
    sick = RedisState("open", 0, "timeout", 12.4)
    well = RedisState("closed", 0, None, None)
    assert "redis    circuit open, timeout 12 s ago" in ready(readiness(sick)).splitlines()
    assert "redis    circuit closed, no error yet" in ready(readiness(well)).splitlines()


def test_a_problem_says_what_where_and_under_which_request() -> None:
    """Status and title, the detail, each field at fault, the id to look for in the log."""
    refusal = Problem(
        type="urn:rackfit:problem:invalid-input",
        title="The request is well formed but wrong",
        status=422,
        detail="2 fields are wrong: , ?limit.",
        request_id="r-1",
        errors=(Violation("", "wrong all over"), Violation("?limit", "Expected `int` >= 1.")),
    )
    expected = [
        "422 The request is well formed but wrong",
        "  2 fields are wrong: , ?limit.",
        "  at (the whole body): wrong all over",
        "  at ?limit: Expected `int` >= 1.",
        "  request id r-1",
    ]
    assert expected == problem(refusal).splitlines()
