"""Redis where it is not one plain server: behind TLS, watched by Sentinels, or a cluster."""

import datetime as dt
import ipaddress
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from faults.test_sick_redis import is_hit, question, wait_for
from rackfit.caching.redis_url import check_redis_url, place_of
from servers import RedisServer, free_port, redis_server
from serving import service

BINARY = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(
    BINARY is None, reason="redis-server is not on PATH: Debian's package redis-server brings it"
)


def certificate(directory: Path) -> tuple[Path, Path]:
    """Write a key and a certificate of 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (directory / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return directory / "key.pem", directory / "certificate.pem"


@needs_redis
def test_redis_behind_tls(tmp_path: Path) -> None:
    """With the authority that signed it; without, it is a Redis nobody can talk to."""
    key, signed = certificate(tmp_path)
    port = free_port()
    options = ("--tls-port", str(port), "--tls-key-file", str(key), "--tls-cert-file", str(signed))
    options += ("--tls-ca-cert-file", str(signed), "--tls-auth-clients", "no")
    url = f"rediss://127.0.0.1:{port}/0"
    with redis_server(options=options):
        with service(
            RACKFIT_REDIS_URL=f"{url}?ssl_ca_certs={signed}", RACKFIT_CACHE_BYTES="0"
        ) as trusting:
            wait_for(lambda: is_hit(trusting))
        with service(RACKFIT_REDIS_URL=url, RACKFIT_CACHE_BYTES="0") as wary:
            replies = [wary.raw(question(0)) for _ in range(3)]
            assert {200} == {reply.status for reply in replies}
            assert not is_hit(wary)


@contextmanager
def sentinel(master: RedisServer) -> Iterator[int]:
    """Run a Sentinel that alone decides, after a second, that a master is gone."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rackfit-sentinel-") as directory:
        file = Path(directory) / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor cache 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds cache 500\n"
            "sentinel failover-timeout cache 3000\n"
        )
        process = subprocess.Popen(  # noqa: S603 - our own server on loopback
            [str(BINARY), str(file), "--sentinel"], stdout=subprocess.DEVNULL
        )
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def knows_a_replica(port: int) -> bool:
    """Tell whether a Sentinel has somebody to put in the master's place."""
    try:
        with Redis(port=port) as client:
            masters = client.sentinel_masters()
            return int(masters["cache"]["num-slaves"]) > 0
    except (RedisError, KeyError):
        return False


@needs_redis
def test_a_failover_of_sentinels_is_followed() -> None:
    """The master dies, a replica takes its place: the same URL leads there, no answer is lost."""
    with ExitStack() as opened:
        master = opened.enter_context(redis_server())
        replica = opened.enter_context(
            redis_server(options=("--replicaof", "127.0.0.1", str(master.port)))
        )
        port = opened.enter_context(sentinel(master))
        wait_for(lambda: knows_a_replica(port))
        running = opened.enter_context(
            service(
                RACKFIT_REDIS_URL=f"redis+sentinel://127.0.0.1:{port}/cache/0",
                RACKFIT_CACHE_BYTES="0",
                RACKFIT_REDIS_COOLDOWN_SECONDS="0.2",
            )
        )
        wait_for(lambda: is_hit(running))
        master.kill()
        statuses = set()
        deadline = time.monotonic() + 30
        while not is_hit(running):
            statuses.add(running.raw(question(1)).status)
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with Redis(port=replica.port) as client:
            assert client.info("replication")["role"] == "master"
        assert statuses <= {200}


@needs_redis
def test_a_cluster_is_a_cache_too() -> None:
    """Answers and their leases are kept where the cluster puts them."""
    options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    with ExitStack() as opened:
        nodes = [opened.enter_context(redis_server(options=options)) for _ in range(2)]
        clients = [opened.enter_context(Redis(port=node.port)) for node in nodes]
        slots = ((0, 8191), (8192, 16383))
        for client, (first, last) in zip(clients, slots, strict=True):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", nodes[1].port)
        wait_for(lambda: all(b"cluster_state:ok" in state(client) for client in clients))
        running = opened.enter_context(
            service(
                RACKFIT_REDIS_URL=f"redis+cluster://127.0.0.1:{nodes[0].port}",
                RACKFIT_CACHE_BYTES="0",
            )
        )
        wait_for(lambda: is_hit(running))
        replies = [running.raw(question(number)) for number in range(20)]
        assert {200} == {reply.status for reply in replies}
        wait_for(lambda: all(client.dbsize() > 0 for client in clients))
        nodes[1].kill()
        replies = [running.raw(question(number)) for number in range(20)]
        assert {200} == {reply.status for reply in replies}


def state(client: Redis) -> bytes:
    """Return what a node of a cluster says of it."""
    said = client.execute_command("CLUSTER INFO")
    return said if isinstance(said, bytes) else repr(said).encode().replace(b"': '", b":")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h/cache",
        "redis+sentinel://:secret@a:1,b:2/cache/3",
        "redis+sentinel://user:pass%2Fword@[::1]:26379/cache",
        "redis+cluster://user:secret@a:7000,b",
    ],
)
def test_urls_of_several_servers_are_read(url: str) -> None:
    """And what the log says of them holds no secret."""
    check_redis_url(url)
    assert place_of(url).startswith(("cache, watched by ", "the cluster of "))
    assert not any(secret in place_of(url) for secret in ("secret", "pass", "user"))


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/",
        "redis+sentinel://h:0/cache",
        "redis+sentinel://h:99999/cache",
        "redis+sentinel://h:x/cache",
        "redis+sentinel://h:1/cache/zero",
        "redis+sentinel://:secret@/cache",
        "redis+sentinel://,/cache",
        "redis+cluster://",
        "redis+cluster://h:1/0",
        "redis+cluster://:secret@h:x",
    ],
)
def test_wrong_urls_of_several_servers_are_told_without_their_secrets(url: str) -> None:
    """With the form that is right."""
    with pytest.raises(ValueError, match=r"form|host:port") as caught:
        check_redis_url(url)
    assert "secret" not in str(caught.value)
