"""A Redis URL, checked before anything is served: what the client passes over is told as well."""

import re
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis

from rackfit.caching.redis_servers import CLUSTER, SENTINEL, read_servers

DEFAULT_PORT = 6379
SCHEMES = ("redis", "rediss", "unix")
_DATABASE = re.compile(r"/?[0-9]*\Z", re.ASCII)


def check_redis_url(url: str) -> None:
    """Refuse a URL that no connection could be made from. Nothing is sent.

    Raises:
        ValueError: a sentence of what is wrong, without any of the URL's secrets.
    """
    if read_servers(url) is not None:
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Python's own message may quote a piece of the password.
        msg = "its host and port cannot be read; redis://host:6379/0 is the form"
        raise ValueError(msg) from None
    if fault := _fault(parts, port):
        raise ValueError(fault)
    try:
        Redis.from_url(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError):
        msg = "an option behind its `?` is unknown or has a wrong value"
        raise ValueError(msg) from None


def _fault(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in SCHEMES:
        return f"it must begin with redis://, rediss://, unix://, {SENTINEL}:// or {CLUSTER}://"
    if parts.scheme == "unix":
        return None if parts.path else "it must name a socket, as unix:///run/redis.sock"
    if not parts.hostname:
        return "it names no host; redis://host:6379/0 is the form"
    if port == 0:
        return "its port must be a number from 1 to 65535"
    if not _DATABASE.match(parts.path):
        return "its path must be the number of a database, as /0"
    return None


def place_of(url: str) -> str:
    """Name host and port, or the socket, and nothing that could be a secret."""
    if servers := read_servers(url):
        return servers.place
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or DEFAULT_PORT}"
