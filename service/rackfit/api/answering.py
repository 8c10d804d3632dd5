"""From a question to its answer: out of the cache, from a computation under way, or computed.

Two look-ups lead to a cached answer. The raw key, taken over the bytes as they came, costs
nothing to speak of and remembers which answer key it led to; the answer key, taken over the
canonical request, finds the answer however the request is spelled.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

import msgspec

from rackfit import __version__, metrics
from rackfit.api import worker
from rackfit.api.computing import Canonical, Computed, Job, canonicalise, compute
from rackfit.api.operation import Context, Operation
from rackfit.api.pool import ComputePool
from rackfit.caching.answer import CachedAnswer
from rackfit.caching.keys import KeyMemo, answer_key, raw_key
from rackfit.caching.single_flight import SingleFlight
from rackfit.caching.tiers import AnswerCache

P = ParamSpec("P")
T = TypeVar("T")

Source = Literal["memory", "redis", "computed", "collapsed", "incomplete", "uncached"]
"""Where an answer came from; `collapsed` ones from an equal request's computation."""

INLINE_BYTES = 64 << 10
"""Bodies beyond this are decoded off the event loop: a mebibyte takes some milliseconds."""

HASHED_INLINE_BYTES = 1 << 20
"""Contents beyond this are hashed off the event loop, which lets go of the interpreter lock."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came: nothing decoded but the path, and a media type agreed on.

    `deadline` is of `time.monotonic`.
    """

    operation: Operation
    path: dict[str, str]
    raw_path: bytes
    query: bytes
    body: bytes
    content_type: bytes
    media_type: str
    deadline: float


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to send; `etag` is None where it must not be kept."""

    content: bytes
    media_type: str
    etag: str | None
    source: Source


class Answering:
    """Answers questions for one event loop."""

    def __init__(self, context: Context, cache: AnswerCache, pool: ComputePool) -> None:
        self._context = context
        self._cache = cache
        self._pool = pool
        self._memo = KeyMemo(context.settings.cache_entries)
        self._flights: SingleFlight[CachedAnswer | Computed] = SingleFlight()

    async def answer(self, question: Question) -> Given:
        """Answer `question`.

        Raises:
            RequestError: it is refused, or there is no room or time for it.
        """
        if not question.operation.cacheable:
            computed = await self._compute(question, await self._canonicalise(question))
            return _fresh(computed, "uncached")
        raw = await _beside(question.body, self._raw_key, question)
        key = self._memo.get(raw)
        canonical = None
        if key is None:
            canonical = await self._canonicalise(question)
            key = await _beside(canonical.body, self._answer_key, question, canonical)
            self._memo.put(raw, key)
        if found := await self._cache.get(key):
            return _kept(found[0], "memory" if found[1] == "memory" else "redis")
        return await self._fly(key, question, canonical or await self._canonicalise(question))

    async def _fly(self, key: bytes, question: Question, canonical: Canonical) -> Given:
        """Compute an answer once for all who are asking for it now."""
        led = False

        async def lead() -> CachedAnswer | Computed:
            nonlocal led
            led = True
            computed = await self._compute(question, canonical)
            return await self._keep(key, computed) if computed.complete else computed

        landed = await self._flights.run(key, lead)
        if isinstance(landed, CachedAnswer):
            return _kept(landed, "computed" if led else "collapsed")
        # Cut short by its own deadline, which is not everyone's: an incomplete answer is not
        # shared.
        return _fresh(landed if led else await self._compute(question, canonical), "incomplete")

    async def _keep(self, key: bytes, computed: Computed) -> CachedAnswer:
        content = computed.content
        answer = await _beside(content, CachedAnswer.of, content, computed.media_type)
        await self._cache.put(key, answer)
        return answer

    async def _canonicalise(self, question: Question) -> Canonical:
        operation = question.operation
        if len(question.body) <= INLINE_BYTES or operation.body is bytes:
            return canonicalise(operation, question.query, question.body)
        return await self._pool.run(
            question.deadline - time.monotonic(),
            worker.canonicalise_job,
            operation.id,
            question.query,
            question.body,
        )

    async def _compute(self, question: Question, canonical: Canonical) -> Computed:
        operation = question.operation
        job = Job(operation.id, question.path, canonical, question.media_type, question.deadline)
        if not canonical.heavy and len(canonical.body) <= INLINE_BYTES:
            return compute(self._context, operation, job)
        computed = await self._pool.run(
            question.deadline - time.monotonic(), worker.compute_job, self._context.settings, job
        )
        _observe(computed)
        return computed

    def _raw_key(self, question: Question) -> bytes:
        return raw_key(
            method=question.operation.method,
            path=question.raw_path,
            query=question.query,
            body=question.body,
            # What the header agrees on, not its words: clients spell Accept in many ways.
            headers=(question.content_type, question.media_type.encode("ascii")),
            variant=self._context.settings.variant,
            version=__version__,
            catalog=self._context.catalog.digest,
        )

    def _answer_key(self, question: Question, canonical: Canonical) -> bytes:
        return answer_key(
            method=question.operation.method,
            path=question.operation.path.format_map(question.path),
            query=canonical.query,
            body=canonical.body,
            media_type=question.media_type,
            variant=self._context.settings.variant,
            version=__version__,
            catalog=self._context.catalog.digest,
        )


async def _beside(
    hashed: bytes, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Call a function that hashes `hashed`: in a thread where that is long."""
    if len(hashed) <= HASHED_INLINE_BYTES:
        return function(*arguments, **named)
    return await asyncio.to_thread(function, *arguments, **named)


def _observe(computed: Computed) -> None:
    """Record what a plan search did, where there was one."""
    if computed.search is not None:
        metrics.PLAN_SECONDS.observe(computed.seconds)
        metrics.PLAN_SPLITS.observe(computed.search.splits)
        metrics.PLANS.labels(computed.search.outcome).inc()


def _kept(answer: CachedAnswer, source: Source) -> Given:
    return Given(content=answer.body, media_type=answer.media_type, etag=answer.etag, source=source)


def _fresh(computed: Computed, source: Source) -> Given:
    return Given(content=computed.content, media_type=computed.media_type, etag=None, source=source)
