"""From a question to its answer: out of the cache, from a computation under way, or computed.

Two look-ups lead to a cached answer. The raw key, taken over the bytes as they came, costs
nothing to speak of and remembers which answer key it led to; the answer key, taken over the
canonical request, finds the answer however the request is spelled.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, ParamSpec, TypeVar

import msgspec
from litestar.types import HTTPScope

from rackfit import __version__
from rackfit.api import worker
from rackfit.api.computing import Canonical, Computed, Job, canonicalise, compute, observe
from rackfit.api.hanging_up import Gone, Unless
from rackfit.api.operation import Context, Operation
from rackfit.api.pool import ComputePool
from rackfit.api.room import Held
from rackfit.caching.answer import CachedAnswer
from rackfit.caching.keys import KeyMemo, RawKeys, answer_key
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

PATIENCE = 0.5
"""Share of a request's time that it waits for an equal one in another process; the rest is for
computing the answer itself, should that come to nothing.
"""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came: nothing decoded but the path, and a media type agreed on.

    `patience` is how many seconds it may take, `deadline` when they are over, of
    `time.monotonic`; `gone` waits for the caller to hang up; `held` is the room
    its body takes. `looked_up` tells that Redis was just asked for the answer, in vain.
    """

    operation: Operation
    path: dict[str, str]
    raw_path: bytes
    query: bytes
    body: bytes
    content_type: bytes
    media_type: str
    patience: float
    deadline: float
    gone: Gone
    held: Held
    looked_up: bool = False

    @property
    def is_long(self) -> bool:
        """Whether its body is decoded by a worker."""
        return len(self.body) > INLINE_BYTES and self.operation.body is not bytes

    @property
    def seconds(self) -> float:
        """The time that is left."""
        return self.deadline - time.monotonic()

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return self.seconds <= 0


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to send; `etag` is None where it must not be kept.

    `stored` tells that it was computed for this request and is now in the cache.
    """

    content: bytes
    media_type: str
    etag: str | None
    source: Source
    stored: bool = False


class Answering:
    """Answers questions for one event loop."""

    def __init__(self, context: Context, cache: AnswerCache, pool: ComputePool) -> None:
        self._context = context
        self._cache = cache
        self._pool = pool
        self._memo = KeyMemo(context.settings.cache_entries)
        self._flights: SingleFlight[tuple[bytes, float], Given] = SingleFlight()
        self._reads: SingleFlight[bytes, CachedAnswer | None] = SingleFlight()
        self._raw_keys = RawKeys(
            variant=context.variant,
            version=__version__,
            catalog=context.catalog.digest,
        )

    def key_of(
        self, method: str, scope: HTTPScope, body: bytes, headers: tuple[bytes, str]
    ) -> bytes | None:
        """Return the key of the answer to a request as it came, None where none is known.

        Args:
            method: the HTTP method.
            scope: has path and query.
            body: the whole body.
            headers: content type as it came, and the media type agreed on.
        """
        if not self._memo.may_know(body):
            return None
        content_type, media_type = headers
        raw = self._raw_keys.key(
            method=method,
            path=scope["raw_path"],
            query=scope["query_string"],
            body=body,
            # What the header agrees on, not its words: clients spell Accept in many ways.
            headers=(content_type, media_type.encode("ascii")),
        )
        return self._memo.get(raw)

    @property
    def is_full(self) -> bool:
        """Whether no more computations are taken."""
        return self._pool.is_full

    def holds(self, key: bytes) -> bool:
        """Tell whether this process holds a kept answer."""
        return self._cache.holds(key)

    def held(self, key: bytes) -> CachedAnswer | None:
        """Return a kept answer that this process holds."""
        return self._cache.recall(key)

    async def kept(self, key: bytes) -> tuple[CachedAnswer, Source] | None:
        """Return a kept answer and where it was; equal questions ask Redis for it once."""
        if held := self._cache.recall(key):
            return held, "memory"
        if not self._cache.is_shared:
            return None
        found = await self._reads.run(key, lambda: self._cache.fetch(key))
        return None if found is None else (found, "redis")

    async def answer(self, question: Question) -> Given:
        """Answer `question`.

        Raises:
            RequestError: it is refused, or there is no room or time for it.
            ClientGone: the caller hung up before there was an answer.
        """
        if not question.operation.cacheable:
            async with Unless(question.gone):
                return await self._uncached(question)
        raw = await _beside(question.body, self._raw_key, question)
        key = self._memo.get(raw)
        if key is not None and (held := self._cache.recall(key)):
            return _kept(held, "memory")
        async with Unless(question.gone):
            return await self._find(raw, key, question)

    async def _uncached(self, question: Question) -> Given:
        return _fresh(await self._compute(question, await self._canonicalise(question)), "uncached")

    async def _find(self, raw: bytes, key: bytes | None, question: Question) -> Given:
        """Answer what is not held under the bytes as they came."""
        canonical = None
        if key is None:
            canonical = await self._canonicalise(question)
            key = await _beside(canonical.body, self._answer_key, question, canonical)
            self._memo.put(raw, question.body, key)
            if held := self._cache.recall(key):
                return _kept(held, "memory")
            if _is_short(canonical) and not self._cache.is_shared:
                # Nothing else runs before it is done: there is nobody to share it with.
                return await self._keep(key, await self._compute(question, canonical))
        return await self._fly(key, question, canonical)

    async def _fly(self, key: bytes, question: Question, canonical: Canonical | None) -> Given:
        """Find or compute an answer once for all who are asking for it now.

        Those who wait longer, or shorter, have a flight of their own: nobody is told that time
        was up by the deadline of one in a greater hurry, or kept beyond their own.
        """
        led = False

        async def lead() -> Given:
            nonlocal led
            led = True
            if not question.looked_up and (found := await self._cache.fetch(key)):
                return _kept(found, "redis")
            return await self._compute_once(
                key, question, canonical or await self._canonicalise(question)
            )

        landed = await self._flights.run((key, question.patience), lead)
        if led or landed.source == "redis":
            return landed
        if landed.source != "incomplete":
            return msgspec.structs.replace(landed, source="collapsed", stored=False)
        # Cut short by its own deadline, which is not everyone's: an incomplete answer is not
        # shared.
        canonical = canonical or await self._canonicalise(question)
        return _fresh(await self._compute(question, canonical), "incomplete")

    async def _compute_once(self, key: bytes, question: Question, canonical: Canonical) -> Given:
        """Compute an answer and keep it, unless another process is just doing that."""
        async with self._cache.turn(key, question.seconds * PATIENCE) as found:
            if found is not None:
                return _kept(found, "collapsed")
            return await self._keep(key, await self._compute(question, canonical))

    async def _keep(self, key: bytes, computed: Computed) -> Given:
        """Keep an answer, unless it was cut short."""
        if not computed.complete:
            return _fresh(computed, "incomplete")
        content = computed.content
        answer = await _beside(content, CachedAnswer.of, content, computed.media_type)
        return _kept(answer, "computed", stored=self._cache.put(key, answer))

    async def _canonicalise(self, question: Question) -> Canonical:
        operation = question.operation
        if not question.is_long:
            return canonicalise(operation, question.query, question.body)
        call = partial(worker.canonicalise_job, operation.id, question.query, question.body)
        return await self._pool.run(question.seconds, call, question.held)

    async def _compute(self, question: Question, canonical: Canonical) -> Computed:
        operation = question.operation
        job = Job(operation.id, question.path, canonical, question.media_type)
        if _is_short(canonical):
            return compute(self._context, operation, job, lambda: question.expired)
        call = partial(worker.compute_job, self._context.settings, job)
        computed = await self._pool.run(
            question.seconds, call, question.held, is_let_in=question.is_long
        )
        observe(computed)
        return computed

    def _raw_key(self, question: Question) -> bytes:
        return self._raw_keys.key(
            method=question.operation.method,
            path=question.raw_path,
            query=question.query,
            body=question.body,
            headers=(question.content_type, question.media_type.encode("ascii")),
        )

    def _answer_key(self, question: Question, canonical: Canonical) -> bytes:
        return answer_key(
            method=question.operation.method,
            path=question.operation.path.format_map(question.path),
            query=canonical.query,
            body=canonical.body,
            media_type=question.media_type,
            variant=self._context.variant,
            version=__version__,
            catalog=self._context.catalog.digest,
        )


def _is_short(canonical: Canonical) -> bool:
    """Tell whether an answer is computed on the event loop."""
    return not canonical.heavy and len(canonical.body) <= INLINE_BYTES


async def _beside(
    hashed: bytes, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Call a function that hashes `hashed`: in a thread where that is long."""
    if len(hashed) <= HASHED_INLINE_BYTES:
        return function(*arguments, **named)
    return await asyncio.to_thread(function, *arguments, **named)


def _kept(answer: CachedAnswer, source: Source, *, stored: bool = False) -> Given:
    return Given(
        content=answer.body,
        media_type=answer.media_type,
        etag=answer.etag,
        source=source,
        stored=stored,
    )


def _fresh(computed: Computed, source: Source) -> Given:
    return Given(content=computed.content, media_type=computed.media_type, etag=None, source=source)
