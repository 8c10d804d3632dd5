"""The connection to Redis, and what runs behind the caller's back."""

import asyncio

import pytest

from caching.storing import LIMITS, NEVER_AGAIN
from rackfit.caching.redis_link import RedisLink

pytestmark = pytest.mark.anyio


async def _nothing() -> None:
    """Be done at once."""


@pytest.fixture
async def link(redis_url: str) -> RedisLink:
    """Return a link, which the test closes."""
    return RedisLink(redis_url, LIMITS, NEVER_AGAIN, asyncio.Event().wait)


async def test_closing_waits_for_what_runs(link: RedisLink) -> None:
    """Work under way comes to its end."""
    work = link.spawn(asyncio.sleep(0.05))
    await link.aclose()
    assert work.done()


async def test_closing_right_after_work_is_done_ends(link: RedisLink) -> None:
    """The loop has not yet told that it is done: waiting for it again gives up no turn."""
    work = link.spawn(_nothing())
    await asyncio.sleep(0)
    assert work.done()
    await link.aclose()
