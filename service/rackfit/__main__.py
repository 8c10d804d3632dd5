"""`python -m rackfit`: serve, as the environment says."""

import contextlib
import errno
import os
import socket
import sys
import tempfile
from urllib.parse import urlsplit

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from rackfit.catalog import load_catalog
from rackfit.errors import CatalogError, InvalidInput
from rackfit.logs import configure_logging
from rackfit.memory.resolve import read_entry
from rackfit.settings import Settings, read_settings

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # longer than load balancers keep idle connections, commonly 60 s
GRACE_SECONDS = 8  # with the rest of the shutdown below the 10 s supervisors commonly grant

FAILED = 1
MISCONFIGURED = 2

_log = structlog.get_logger(__name__)


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    try:
        settings = read_settings(os.environ)
    except ValueError as error:
        return _complain(str(error), MISCONFIGURED)
    configure_logging(settings)
    try:
        _check_catalog(settings)
        listener = _listen(settings)
    except CatalogError as error:
        return _complain(f"The catalog cannot be used: {error}", FAILED)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        # What `socket` makes of it repeats the address; a host's name has no number of errno.
        number = error.errno or 0
        reason = os.strerror(number) if number in errno.errorcode else error.strerror
        return _complain(f"Cannot listen on {where}: {reason}", FAILED)
    _announce(settings, listener)
    return _serve(settings, listener)


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"rackfit: {message}\n")
    return status


def _check_catalog(settings: Settings) -> None:
    """Read every model once, so that a file that cannot be used is told before serving.

    Raises:
        CatalogError: naming the model.
    """
    for entry in load_catalog(settings.catalog_dir).models.values():
        try:
            read_entry(entry)
        except InvalidInput as error:
            msg = f"model {entry.id}: {error}"
            raise CatalogError(msg) from error


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    listener = socket.create_server(address, family=family, backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def _announce(settings: Settings, listener: socket.socket) -> None:
    """Say where it listens, which cache it uses, and how to try it."""
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _log.info("listening", url=url)
    _log.info("cache", tiers=_tiers(settings))
    path = "/v1/models/deepseek-v4-pro/memory?method=rule-of-thumb"
    _log.info("try", command=f"curl -s '{url}{path}' -H 'Accept: text/plain'")


def _tiers(settings: Settings) -> str:
    """Name the cache's tiers; of the URL only what holds no secret."""
    if settings.redis_url is None:
        return "in-process"
    url = urlsplit(settings.redis_url)
    return f"in-process, then Redis at {url.hostname or url.path}"


def _serve(settings: Settings, listener: socket.socket) -> int:
    config = uvicorn.Config(
        "rackfit.application:application",
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    if settings.workers == 1:
        server = uvicorn.Server(config)
        with contextlib.suppress(KeyboardInterrupt):  # raised again once all is shut down
            server.run(sockets=[listener])
        return 0 if server.started else FAILED
    with tempfile.TemporaryDirectory(prefix="rackfit-metrics-") as directory:
        # prometheus-client sums the processes' metrics through files; it reads this variable
        # when it is imported, in the serving processes.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", directory)
        Multiprocess(config, sockets=[listener]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
