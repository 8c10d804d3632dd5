"""`python -m rackfit`: serve, as the environment says; `python -m rackfit key`: make an API key."""

import argparse
import errno
import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Sequence

import structlog

from rackfit.access.credentials import Credentials
from rackfit.access.keys import new_key
from rackfit.caching.redis_url import check_redis_url, place_of
from rackfit.catalog import load_catalog
from rackfit.errors import CatalogError, InvalidInput
from rackfit.logs import configure_logging
from rackfit.memory.resolve import read_entry
from rackfit.server.serving import BACKLOG, serve
from rackfit.server.supervisor import Supervisor
from rackfit.settings import Settings, read_settings
from rackfit.telemetry import check_telemetry

SERVED = 0
FAILED = 1
MISCONFIGURED = 2

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes' metrics are summed: prometheus-client reads it when it is imported."""

_log = structlog.get_logger(__name__)


def main(given: Sequence[str] | None = None) -> int:
    """Do what arguments say, `given` or the process' own; returns the exit status."""
    arguments = _arguments(given)
    if arguments.command == "key":
        return _make_key(arguments.name, arguments.scopes)
    try:
        settings = _settings(insecure=arguments.insecure)
        _check_metrics_directory(settings)
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


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rackfit", description="Serve; RACKFIT_* variables of the environment configure it."
    )
    parser.add_argument(
        "--insecure", action="store_true", help="serve beyond loopback without asking for keys"
    )
    commands = parser.add_subparsers(dest="command")
    key = commands.add_parser("key", help="make an API key, and the line to keep of it")
    key.add_argument("name", help="whose it is: a word, which the log shows")
    key.add_argument(
        "--scopes", default="plan", help="of read, plan and admin, joined by commas (plan)"
    )
    return parser.parse_args(given)


def _make_key(name: str, scopes: str) -> int:
    """Print the line to keep on standard output, and the key itself, once, beside it."""
    try:
        key, line = new_key(name, scopes.split(","))
    except ValueError as error:
        return _complain(f"No such key can be made: {error}.", MISCONFIGURED)
    sys.stderr.write(f"The key, which is shown this once: {key}\n")
    sys.stdout.write(f"{line}\n")
    return SERVED


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"rackfit: {message}\n")
    return status


def _settings(*, insecure: bool) -> Settings:
    """Read the settings, and check what only the parts that use them can.

    Raises:
        ValueError: a sentence that names the variable.
    """
    settings = read_settings(os.environ)
    _check_access(settings, insecure=insecure or settings.insecure)
    check_telemetry(settings)
    if settings.redis_url is not None:
        try:
            check_redis_url(settings.redis_url)
        except ValueError as error:
            # The value itself may hold a password.
            msg = f"RACKFIT_REDIS_URL is not the URL of a Redis: {error}."
            raise ValueError(msg) from error
    return settings


def _check_access(settings: Settings, *, insecure: bool) -> None:
    """See that strangers are asked who they are, and that their answers can be checked.

    Raises:
        ValueError: a sentence that names the variables.
    """
    asks = Credentials(settings).are_asked_for
    if not (asks or insecure or _is_loopback(settings.host)):
        msg = (
            f"RACKFIT_HOST is {settings.host}, where strangers can ask. Set RACKFIT_API_KEYS_FILE "
            "(`python -m rackfit key NAME` makes a key) or RACKFIT_JWKS_FILE, or say --insecure "
            "(RACKFIT_INSECURE=true) where something in front of it asks them."
        )
        raise ValueError(msg)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_metrics_directory(settings: Settings) -> None:
    """Refuse a directory for metrics that cannot be written to, before anything needs it.

    Raises:
        ValueError: a sentence that names the directory.
    """
    given = os.environ.get(METRICS_DIRECTORY)
    if given is None and settings.workers == 1:
        return
    try:
        with tempfile.TemporaryFile(dir=given):
            pass
    except OSError as error:
        place = f"{METRICS_DIRECTORY} is {given!r}; it" if given else "The temporary directory"
        msg = f"{place} must be a directory that can be written to: {error.strerror}."
        raise ValueError(msg) from error


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
    return socket.create_server(address, family=family, backlog=BACKLOG)


def _announce(settings: Settings, listener: socket.socket) -> None:
    """Say where it listens, which cache it uses, and how to try it."""
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _log.info("listening", url=url)
    _log.info("cache", tiers=_tiers(settings))
    path = "/v1/models/deepseek-v4-pro/memory?method=rule-of-thumb"
    asked = settings.api_keys_file or settings.jwks_file
    shown = ' -H "Authorization: Bearer $KEY"' if asked else ""
    _log.info("try", command=f"curl -s '{url}{path}' -H 'Accept: text/plain'{shown}")


def _tiers(settings: Settings) -> str:
    if settings.redis_url is None:
        return "in-process"
    return f"in-process, then Redis at {place_of(settings.redis_url)}"


def _serve(settings: Settings, listener: socket.socket) -> int:
    if settings.workers == 1:
        try:
            serve(settings, listener)
        except SystemExit:  # the log says why it did not start
            return FAILED
        return SERVED
    with tempfile.TemporaryDirectory(prefix="rackfit-metrics-") as directory:
        os.environ.setdefault(METRICS_DIRECTORY, directory)
        return Supervisor(settings, listener).run()


if __name__ == "__main__":
    sys.exit(main())
