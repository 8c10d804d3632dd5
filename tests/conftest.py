"""Fixtures shared by the whole suite."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from counting import Counted
from rackfit.catalog import Catalog, load_catalog
from servers import RedisServer, redis_server, shared_redis_url

settings.register_profile("untimed", deadline=None)  # machines are shared: no test asserts a time
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run the tests marked `anyio` on asyncio, as the service runs."""
    return "asyncio"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The catalog as it ships."""
    return load_catalog()


@pytest.fixture
def counted() -> Counted:
    """Tell how far metrics have moved since the test began."""
    return Counted()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a real server shared by the session; keep to keys of your own, and do not stop it."""
    with shared_redis_url() as url:
        yield url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Run a real server for one test, which may kill, pause and restart it."""
    with redis_server() as server:
        yield server
