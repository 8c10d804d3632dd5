"""A Redis that Sentinels watch: `redis+sentinel://[user:password@]host:port,host:port/service/0`.

redis-py has no URL of this kind; the form is that of other clients (Lettuce, Celery's backends).
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

SCHEME = "redis+sentinel"
DEFAULT_PORT = 26379
_FORM = re.compile(
    r"redis\+sentinel://(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?(?P<hosts>[^@/?#]+)"
    r"/(?P<service>[^/?#]+)(?:/(?P<database>[0-9]{1,6}))?/?"
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_MOST_PORT = 65_535


class Watched(NamedTuple):
    """Where the Sentinels are, which service they watch, and how to log in to it."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None


def read_sentinel_url(url: str) -> Watched:
    """Read a URL.

    Raises:
        ValueError: a sentence of what is wrong, without any of the URL's secrets.
    """
    found = _FORM.fullmatch(url)
    if found is None:
        msg = f"{SCHEME}://host:{DEFAULT_PORT},host:{DEFAULT_PORT}/service/0 is its form"
        raise ValueError(msg)
    hosts = tuple(_host(host) for host in found["hosts"].split(","))
    return Watched(
        hosts=hosts,
        service=unquote(found["service"]),
        database=int(found["database"] or 0),
        username=unquote(found["user"]) if found["user"] else None,
        password=unquote(found["password"]) if found["password"] else None,
    )


def _host(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found[2] or DEFAULT_PORT) if found else 0
    if found is None or not 0 < port <= _MOST_PORT:
        msg = "each of its hosts must be host:port, with a port from 1 to 65535"
        raise ValueError(msg)
    return found[1].strip("[]"), port
