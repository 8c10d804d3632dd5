"""docker-compose.yml: valid by schema and by Compose itself, hardened, and wired to its files."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

import deployment
from deployment import ROOT, image_environment, installed, run
from rackfit.settings import read_settings
from servers import redis_server

COMPOSE = ROOT / "docker-compose.yml"

MIB = 1 << 20


class _Service(msgspec.Struct, frozen=True):
    image: str
    restart: str
    read_only: bool
    cap_drop: list[str]
    security_opt: list[str]
    deploy: dict[str, dict[str, dict[str, str]]]
    build: dict[str, str] | None = None
    user: str | None = None
    command: list[str] = []
    environment: dict[str, str] = {}
    ports: list[str] = []
    networks: tuple[str, ...] = ("default",)
    volumes: list[str] = []
    tmpfs: list[str] = []
    healthcheck: dict[str, Any] = {}


class _Compose(msgspec.Struct, frozen=True):
    services: dict[str, _Service]
    networks: dict[str, dict[str, bool]]
    volumes: dict[str, dict[str, str]]


STACK = msgspec.yaml.decode(COMPOSE.read_bytes(), type=_Compose)

each_service = pytest.mark.parametrize("name", STACK.services)


def _compose() -> list[str]:
    """Return the command of Compose 2, else 1.29; skip where there is neither."""
    plugin = shutil.which("docker")
    if (
        plugin
        and not subprocess.run(  # noqa: S603 - found on PATH
            [plugin, "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        return [plugin, "compose"]
    reason = "nor has docker the compose plugin; Debian's package docker-compose brings it"
    return [deployment.on_path("docker-compose", reason)]


def test_compose_file_is_valid_by_schema() -> None:
    """The file conforms to the JSON schema of the Compose specification."""
    printed = run(installed("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE)

    assert "ok" in printed


def test_schema_sees_a_fault(tmp_path: Path) -> None:
    """The schema that finds nothing is one that can find something."""
    faulty = tmp_path / "docker-compose.yml"
    faulty.write_text(COMPOSE.read_text().replace("read_only: true", "readonly: true"))

    with pytest.raises(AssertionError, match="readonly"):
        run(installed("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", faulty)


def test_compose_itself_accepts_the_file() -> None:
    """Compose resolves the file, anchors and paths included, to the services of the stack."""
    printed = run(*_compose(), "--file", COMPOSE, "config", "--services")

    assert set(STACK.services) == set(printed.split())


@each_service
def test_service_is_hardened_and_bounded(name: str) -> None:
    """Every container: read-only, no capabilities, no new privileges, limits, a health check."""
    service = STACK.services[name]

    assert service.read_only
    assert ["ALL"] == service.cap_drop
    assert ["no-new-privileges:true"] == service.security_opt
    assert {"cpus", "memory"} == set(service.deploy["resources"]["limits"])
    assert "test" in service.healthcheck or "HEALTHCHECK" in dict(deployment.instructions())
    assert ("test" in service.healthcheck) == (service.build is None)


@each_service
def test_service_is_published_on_loopback_only(name: str) -> None:
    """No port is open to the network the machine is in."""
    assert all(port.startswith("127.0.0.1:") for port in STACK.services[name].ports)


@each_service
def test_mounted_files_exist_and_are_read_only(name: str) -> None:
    """What is mounted from the tree is there, and the container cannot change it."""
    for volume in STACK.services[name].volumes:
        source, _, *options = volume.split(":")

        assert source in STACK.volumes or ((ROOT / source).is_dir() and options == ["ro"])


def test_service_reads_its_settings() -> None:
    """The variables of image and stack are settings, one compute process for each CPU allowed."""
    service = STACK.services["rackfit"]
    settings = read_settings(image_environment() | service.environment)

    assert "redis://redis:6379/0" == settings.redis_url
    assert 1 == settings.workers
    assert service.deploy["resources"]["limits"]["cpus"] == str(settings.compute_processes)
    assert [f"127.0.0.1:{settings.port}:{settings.port}"] == service.ports


def test_service_is_built_from_this_tree() -> None:
    """The image is the one deploy/Dockerfile builds from the top of the tree."""
    build = STACK.services["rackfit"].build
    assert build is not None

    assert deployment.DOCKERFILE == ROOT / build["context"] / build["dockerfile"]


def test_redis_is_a_cache() -> None:
    """A real server takes the options: bounded, evicting the least recently used, nothing saved."""
    service = STACK.services["redis"]
    server, *options = service.command
    with redis_server(options=options) as started, redis.Redis.from_url(started.url) as client:
        config = {
            name: client.config_get(name)[name]
            for name in ("maxmemory", "maxmemory-policy", "save", "appendonly")
        }

    assert "valkey-server" == server
    assert {
        "maxmemory": str(256 * MIB),
        "maxmemory-policy": "allkeys-lru",
        "save": "",
        "appendonly": "no",
    } == config
    assert {"--save", "--appendonly"} <= set(options)
    assert "384M" == service.deploy["resources"]["limits"]["memory"]


def test_redis_is_reachable_by_the_service_alone() -> None:
    """Redis publishes nothing and sits in an internal network that only the service shares."""
    members = [name for name, service in STACK.services.items() if "cache" in service.networks]

    assert [] == STACK.services["redis"].ports
    assert ("cache",) == STACK.services["redis"].networks
    assert {"rackfit", "redis"} == set(members)
    assert STACK.networks["cache"]["internal"]


def test_prometheus_scrapes_the_service() -> None:
    """The job the rules select on has the service's name and port as its target."""
    path = ROOT / "deploy/prometheus/prometheus.yml"
    scraping = msgspec.yaml.decode(path.read_bytes(), type=dict[str, Any])
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in scraping["scrape_configs"]
    }

    assert ["rackfit:8080"] == targets["rackfit"]
    assert "./deploy/prometheus:/etc/prometheus:ro" in STACK.services["prometheus"].volumes
    assert "--config.file=/etc/prometheus/prometheus.yml" in STACK.services["prometheus"].command


def test_grafana_finds_data_source_and_dashboard() -> None:
    """The data source is the stack's Prometheus; the dashboard is where it is looked for."""
    grafana = STACK.services["grafana"]
    mounts = dict(volume.split(":")[1::-1] for volume in grafana.volumes)
    provisioning = ROOT / mounts["/etc/grafana/provisioning"]
    [source] = _entries(provisioning / "datasources/prometheus.yml", "datasources")
    [provider] = _entries(provisioning / "dashboards/rackfit.yml", "providers")
    home = Path(grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    assert "http://prometheus:9090" == source["url"]
    assert provider["options"]["path"] == str(home.parent)
    assert (ROOT / mounts[str(home.parent)] / home.name).is_file()


def _entries(path: Path, key: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = msgspec.yaml.decode(path.read_bytes())[key]
    return entries
