"""A Redis of several servers: one that Sentinels watch, or a cluster.

`redis+sentinel://[user:password@]host:port,host:port/service/0` and
`redis+cluster://[user:password@]host:port,host:port`. redis-py has no URLs of these kinds; the
forms are those of other clients (Lettuce, Celery's backends).
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
PORTS = {SENTINEL: 26379, CLUSTER: 6379}
_HOSTS = r"://(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?(?P<hosts>[^@/?#]+)"
_SENTINEL = re.compile(
    rf"redis\+sentinel{_HOSTS}/(?P<service>[^/?#]+)(?:/(?P<database>[0-9]{{1,6}}))?/?"
)
_CLUSTER = re.compile(rf"redis\+cluster{_HOSTS}/?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_MOST_PORT = 65_535


class Servers(NamedTuple):
    """Where to ask, which service Sentinels watch ("" of a cluster), and how to log in."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None

    @property
    def place(self) -> str:
        """Name the servers, and nothing that could be a secret."""
        hosts = ", ".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.service}, watched by {hosts}" if self.service else f"the cluster of {hosts}"


def read_servers(url: str) -> Servers | None:
    """Read a URL of several servers; None where it is of one.

    Raises:
        ValueError: a sentence of what is wrong, without any of the URL's secrets.
    """
    scheme = url.partition(":")[0]
    if scheme not in PORTS:
        return None
    found = (_SENTINEL if scheme == SENTINEL else _CLUSTER).fullmatch(url)
    if found is None:
        port, rest = PORTS[scheme], "/service/0" if scheme == SENTINEL else ""
        msg = f"{scheme}://host:{port},host:{port}{rest} is its form"
        raise ValueError(msg)
    given = found.groupdict()
    return Servers(
        hosts=tuple(_host(host, PORTS[scheme]) for host in given["hosts"].split(",")),
        service=unquote(given.get("service") or ""),
        database=int(given.get("database") or 0),
        username=unquote(given["user"]) if given["user"] else None,
        password=unquote(given["password"]) if given["password"] else None,
    )


def _host(text: str, usual: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found[2] or usual) if found else 0
    if found is None or not 0 < port <= _MOST_PORT:
        msg = "each of its hosts must be host:port, with a port from 1 to 65535"
        raise ValueError(msg)
    return found[1].strip("[]"), port
