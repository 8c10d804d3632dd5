"""The application: everything wired together, once a serving process."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import msgspec
from litestar import Litestar
from litestar.types import ASGIApp

from rackfit import __version__, metrics
from rackfit.api.answering import Answering
from rackfit.api.answers import CacheCondition, Ready
from rackfit.api.closing import Closing
from rackfit.api.edge import Edge
from rackfit.api.front import Front
from rackfit.api.guard import Guard
from rackfit.api.models import summary
from rackfit.api.operation import Context
from rackfit.api.operations import OPERATIONS
from rackfit.api.pipeline import Pipeline
from rackfit.api.pool import ComputePool
from rackfit.api.routing import EXCEPTION_HANDLERS, route_handlers
from rackfit.api.sharing import Sharing
from rackfit.caching.tiers import AnswerCache, cache_for
from rackfit.catalog import Catalog, load_catalog
from rackfit.logs import configure_logging
from rackfit.settings import Settings, read_settings
from rackfit.telemetry import Telemetry, check_telemetry


def application() -> ASGIApp:
    """Make the application from the environment: what a server is pointed at.

    Raises:
        ValueError: a setting is wrong.
        CatalogError: a catalog file is.
    """
    settings = read_settings(os.environ)
    configure_logging(settings)
    return create_application(settings)


def create_application(settings: Settings) -> ASGIApp:
    """Make the application.

    Raises:
        ValueError: a file of keys is wrong, or something a setting needs is not installed.
        CatalogError: a catalog file is.
    """
    check_telemetry(settings)
    Telemetry.begin(settings)
    catalog = load_catalog(settings.catalog_dir)
    cache = cache_for(settings)
    closing = Closing()
    pool = ComputePool(settings, closing)
    context = Context(
        settings=settings,
        catalog=catalog,
        expired=lambda: False,
        operations=OPERATIONS,
        condition=_condition(catalog, cache, pool, closing),
    )
    answering = Answering(context, cache, pool)
    pipeline = Pipeline(settings, answering, closing)
    litestar = Litestar(
        route_handlers=route_handlers(OPERATIONS, pipeline),
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[lambda _: _lifespan(catalog, cache, pool)],
        # What Litestar would do by itself is done here, once: the contract is generated from
        # the operations, bodies are bounded by settings, logs are structlog's.
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
    )
    front = Front(litestar, OPERATIONS, answering, settings, closing)
    return Edge(front, Guard(settings), Sharing(settings.cors_origins), closing)


def _condition(
    catalog: Catalog, cache: AnswerCache, pool: ComputePool, closing: Closing
) -> Callable[[], Ready]:
    return lambda: Ready(
        ready=not closing.has_begun,
        version=__version__,
        catalog_digest=catalog.digest,
        cache=msgspec.convert(cache.describe(), CacheCondition),
        compute=pool.condition,
    )


@contextlib.asynccontextmanager
async def _lifespan(catalog: Catalog, cache: AnswerCache, pool: ComputePool) -> AsyncIterator[None]:
    """Warm up before the first request; after the last, end the workers and connections."""
    metrics.BUILD.labels(__version__, catalog.digest).set(1)
    for model_id in catalog.models:
        summary(catalog, model_id)
    await pool.start()
    try:
        yield
    finally:
        await asyncio.to_thread(pool.close)
        await cache.aclose()
        await asyncio.to_thread(Telemetry.end)
