"""From a question to its answer, by way of the cache."""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import msgspec
import pytest

from counting import Counted
from rackfit.api.answering import INLINE_BYTES, Answering, Given, Question
from rackfit.api.closing import Closing
from rackfit.api.computing import Canonical, Computed
from rackfit.api.operation import JSON, MESSAGE_PACK, Context, Operation, Search
from rackfit.api.pool import ComputePool
from rackfit.api.problems import RequestError
from rackfit.api.room import Held, Room
from rackfit.caching.tiers import cache_for
from rackfit.catalog import Catalog
from rackfit.errors import InvalidInput
from rackfit.settings import Settings
from servers import RedisServer

pytestmark = pytest.mark.anyio


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body."""

    number: int
    name: str = ""


class Answer(msgspec.Struct, frozen=True):
    """An answer."""

    number: int
    complete: bool = True


class Computation:
    """A computation that counts how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(
        self, _context: Context, _path: Mapping[str, str], _query: None, body: Body
    ) -> Answer:
        """Answer with the body's number; zero is refused."""
        self.runs += 1
        if not body.number:
            raise InvalidInput.at("/number", "zero")
        return Answer(body.number)


class FakePool(ComputePool):
    """A pool that answers in this process, after a pause, with what it is given."""

    def __init__(self, *answers: Computed) -> None:
        super().__init__(Settings(compute_processes=1), Closing())
        self.answers = list(answers)
        self.functions: list[str] = []
        self.let_in: list[bool] = []
        self.seconds: list[float] = []

    async def run(
        self,
        seconds: float,
        call: Any,  # noqa: ANN401 - as the pool's
        _held: Held | None = None,
        *,
        is_let_in: bool = False,
    ) -> Any:  # noqa: ANN401 - as the pool's
        """Give the next answer."""
        assert seconds > 0
        self.functions.append(call.func.__name__)
        self.let_in.append(is_let_in)
        self.seconds.append(seconds)
        answer = self.answers.pop(0)
        await asyncio.sleep(0.02)
        return answer


def computed(content: bytes, *, complete: bool = True) -> Computed:
    """Return what a worker sends back."""
    search = Search("feasible" if complete else "incomplete", 7)
    return Computed(content=content, media_type=JSON, complete=complete, seconds=0.5, search=search)


def operation(run: Computation, *, heavy: bool = False, cacheable: bool = True) -> Operation:
    """Return an operation."""
    return Operation(
        id="test",
        method="POST",
        path="/test/{id}",
        tag="service",
        summary="",
        description="",
        run=run,
        answer=Answer,
        body=Body,
        heavy=heavy,
        cacheable=cacheable,
        is_complete=lambda answer: answer.complete,
    )


class Process:
    """What one serving process answers with, over an empty catalog."""

    def __init__(self, settings: Settings, pool: ComputePool | None = None) -> None:
        self.cache = cache_for(settings)
        context = Context(
            settings=settings,
            catalog=Catalog([], [], [], "2026-01-01"),
            expired=lambda: False,
            operations=(),
            condition=lambda: pytest.fail("nobody asks"),
        )
        self.answer = Answering(context, self.cache, pool or FakePool()).answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cache.aclose()


def question(
    asked: Operation,
    body: bytes,
    *,
    media_type: str = JSON,
    name: str = "a",
    patience: float = 10.0,
) -> Question:
    """Return a question."""
    return Question(
        operation=asked,
        path={"id": name},
        raw_path=f"/test/{name}".encode(),
        query=b"",
        body=body,
        content_type=b"application/json",
        media_type=media_type,
        patience=patience,
        deadline=time.monotonic() + patience,
        gone=asyncio.Event().wait,
        held=Room(0).held(),
    )


@pytest.fixture
def run() -> Computation:
    """Return a computation that counts."""
    return Computation()


async def test_a_repeated_question_is_answered_from_memory(run: Computation) -> None:
    """The second answer has the same bytes and tag, and costs no computation."""
    service = Process(Settings())
    asked = question(operation(run), b'{"number":1}')
    first, second = await service.answer(asked), await service.answer(asked)
    assert ("computed", "memory", 1) == (first.source, second.source, run.runs)
    assert (first.content, first.etag) == (second.content, second.etag)
    assert first.etag


@pytest.mark.parametrize(
    "spelling", [b'{ "number" : 1 }', b'{"name":"","number":1}', b'{"number":1.0}']
)
async def test_spelling_does_not_split_the_cache(run: Computation, spelling: bytes) -> None:
    """White space, order, defaults and `1.0` name the same question."""
    service = Process(Settings())
    await service.answer(question(operation(run), b'{"number":1}'))
    again = await service.answer(question(operation(run), spelling))
    assert ("memory", 1) == (again.source, run.runs)


@pytest.mark.parametrize(
    "change",
    [{"body": b'{"number":2}'}, {"media_type": MESSAGE_PACK}, {"name": "b"}],
    ids=lambda change: next(iter(change)),
)
async def test_another_question_has_its_own_answer(
    run: Computation, change: dict[str, Any]
) -> None:
    """Body, media type and path all count."""
    service = Process(Settings())
    first = {"body": b'{"number":1}', "media_type": JSON, "name": "a"}
    await service.answer(question(operation(run), **first))
    other = await service.answer(question(operation(run), **(first | change)))
    assert ("computed", 2) == (other.source, run.runs)


async def test_a_setting_that_changes_answers_changes_their_names(
    run: Computation, redis_url: str
) -> None:
    """Two releases or configurations on one Redis never share an answer."""
    asked = question(operation(run), b'{"number":123}')
    async with (
        Process(Settings(redis_url=redis_url, device_reserve=0.2)) as one,
        Process(Settings(redis_url=redis_url, device_reserve=0.3)) as other,
    ):
        await one.answer(asked)
        assert "computed" == (await other.answer(asked)).source


async def test_a_refusal_is_not_kept(run: Computation) -> None:
    """Only answers are cached."""
    service = Process(Settings())
    for _ in range(2):
        with pytest.raises(RequestError):
            await service.answer(question(operation(run), b'{"number":0}'))
    assert 2 == run.runs


async def test_an_uncacheable_answer_is_not_kept(run: Computation) -> None:
    """It has no tag and is computed each time."""
    service = Process(Settings())
    asked = question(operation(run, cacheable=False), b'{"number":1}')
    given = [await service.answer(asked) for _ in range(2)]
    assert [("uncached", None)] * 2 == [(g.source, g.etag) for g in given]
    assert 2 == run.runs


async def test_equal_questions_at_once_compute_once(run: Computation) -> None:
    """Nine of ten wait for the first."""
    pool = FakePool(computed(b"{}"))
    service = Process(Settings(), pool)
    asked = question(operation(run, heavy=True), b'{"number":1}')
    given = await asyncio.gather(*(service.answer(asked) for _ in range(10)))
    assert ["compute_job"] == pool.functions
    assert [False] == pool.let_in
    assert ["collapsed"] * 9 + ["computed"] == sorted(g.source for g in given)
    assert 1 == len({(g.content, g.etag) for g in given})


async def test_an_incomplete_answer_is_neither_kept_nor_shared(run: Computation) -> None:
    """Each who asks gets what a search of its own found, without a tag."""
    parts = [computed(b"%d" % n, complete=False) for n in range(4)]
    pool = FakePool(*parts)
    service = Process(Settings(), pool)
    asked = question(operation(run, heavy=True), b'{"number":1}')
    given: list[Given] = [*await asyncio.gather(*(service.answer(asked) for _ in range(3)))]
    given.append(await service.answer(asked))
    assert 4 == len({g.content for g in given})
    assert {("incomplete", None)} == {(g.source, g.etag) for g in given}


async def test_those_in_a_hurry_neither_wait_for_others_nor_cut_them_short(
    run: Computation,
) -> None:
    """Who waits longer or shorter than another has a computation of the own time."""
    pool = FakePool(computed(b"short", complete=False), computed(b"whole"))
    service = Process(Settings(), pool)
    asked = partial(question, operation(run, heavy=True), b'{"number":1}')
    times = [0.5, 10.0, 10.0]
    given = await asyncio.gather(*(service.answer(asked(patience=time)) for time in times))
    assert ["incomplete", "computed", "collapsed"] == [g.source for g in given]
    assert [b"short", b"whole", b"whole"] == [g.content for g in given]
    assert [True, False] == [seconds <= 0.5 for seconds in pool.seconds]
    assert "memory" == (await service.answer(asked(patience=0.5))).source


async def test_a_large_body_is_decoded_in_the_pool(run: Computation) -> None:
    """What takes longer than a moment leaves the event loop, decoding included."""
    canonical = Canonical(b"", b'{"number":1}', heavy=True)
    pool = FakePool(canonical, computed(b"{}"))  # type: ignore[arg-type] # what the job gives
    service = Process(Settings(), pool)
    await service.answer(question(operation(run), b'{"number":1}'.ljust(INLINE_BYTES + 1)))
    assert ["canonicalise_job", "compute_job"] == pool.functions
    assert [False, True] == pool.let_in  # decoded, it is not refused any more


async def test_a_search_is_measured(run: Computation, counted: Counted) -> None:
    """Splits, time and outcome of a search are observed where the worker is not scraped."""
    service = Process(Settings(), FakePool(computed(b"{}")))
    await service.answer(question(operation(run, heavy=True), b'{"number":1}'))
    assert 1 == counted("rackfit_plans_total", outcome="feasible")
    assert 7 == counted("rackfit_plan_search_splits_sum")
    assert 0.5 == counted("rackfit_plan_search_duration_seconds_sum")


async def test_an_answer_is_shared_through_redis(run: Computation, own_redis: RedisServer) -> None:
    """What one process computed, another has, to the byte."""
    settings = Settings(redis_url=own_redis.url, redis_timeout_seconds=1.0)
    asked = question(operation(run), b'{"number":1}')
    async with Process(settings) as one:
        first = await one.answer(asked)  # written behind the caller's back, before it closes
    async with Process(settings) as other:
        second = await other.answer(asked)
    assert ("computed", "redis", 1) == (first.source, second.source, run.runs)
    assert (first.content, first.media_type) == (second.content, second.media_type)
    assert first.etag == second.etag


async def test_a_redis_that_dies_changes_no_answer(
    run: Computation, own_redis: RedisServer
) -> None:
    """Before, while and after it is gone, the bytes are the same."""
    settings = Settings(redis_url=own_redis.url, cache_entries=0, cache_bytes=0)
    asked = question(operation(run), b'{"number":1}')
    async with Process(settings) as service:
        given = [await service.answer(asked)]
        own_redis.kill()
        given += [await service.answer(asked) for _ in range(5)]
    assert 1 == len({(g.content, g.etag) for g in given})
