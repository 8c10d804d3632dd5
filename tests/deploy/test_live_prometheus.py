"""The service scraped by a real Prometheus, and everything that is asked of Prometheus asked."""

import contextlib
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pytest

import deployment
import promql
from deployment import ROOT, read_alerts, read_rules
from servers import free_port
from serving import Service, service

T = TypeVar("T")
Object = dict[str, Any]

PATIENCE_SECONDS = 60.0
CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yml"


class _Prometheus:
    """A handle on the HTTP API of a running server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON of many shapes
        """Return the data of one answer."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - loopback
            answer = json.load(reply)
        assert "success" == answer["status"]
        return answer["data"]

    def query(self, expression: str) -> list[Object]:
        """Return the series an expression has now."""
        series: list[Object] = self.ask("query", query=expression)["result"]
        return series

    def health(self) -> dict[str, str]:
        """Return what each rule's last evaluation came to, "unknown" before the first."""
        groups = self.ask("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def raised(self) -> set[str]:
        """Return the names of the alerts that are pending or firing."""
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"]}


@pytest.fixture(scope="module")
def scraped() -> Iterator[Service]:
    """Run the service without the Redis it is told of, and ask it something."""
    with service(RACKFIT_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as started:
        for path in ("/v1/version", "/v1/version", "/v1/models", "/nowhere"):
            started.raw(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        yield started


@pytest.fixture(scope="module")
def prometheus(scraped: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Prometheus]:
    """Run Prometheus with our configuration, in haste, and wait for the first scrape."""
    binary = deployment.on_path("prometheus", "Debian's package prometheus brings it")
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    configuration = directory / "prometheus.yml"
    configuration.write_bytes(msgspec.yaml.encode(_configuration(scraped.port)))
    command = [
        *(binary, f"--config.file={configuration}", f"--storage.tsdb.path={directory / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - found on PATH
    running = _Prometheus(port)
    try:
        _wait(lambda: running.query('up{job="rackfit"} == 1'))
        yield running
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def test_every_rule_is_evaluated_without_error(prometheus: _Prometheus) -> None:
    """Prometheus loads every rule and evaluates each to success."""
    _wait(lambda: "unknown" not in prometheus.health().values())

    assert {rule.alert or rule.record: "ok" for rule in read_rules()} == prometheus.health()


def test_healthy_service_raises_no_alert(prometheus: _Prometheus) -> None:
    """Once scraped, no alert is even pending but those about the absent Redis."""
    about_redis = {name for name in read_alerts() if name.startswith("RackfitRedis")}

    assert _wait(lambda: prometheus.raised() <= about_redis)


def test_scraped_series_carry_the_labels_the_checks_assume(
    prometheus: _Prometheus, known: dict[str, promql.Labels]
) -> None:
    """Each series of Rackfit has exactly the labels that queries are checked against."""
    series = prometheus.ask("series", **{"match[]": '{__name__=~"rackfit_.+|process_.+"}'})
    found = {labels.pop("__name__"): frozenset(labels) for labels in series}
    named = {name: labels for name, labels in found.items() if not name.endswith("_created")}

    assert {"rackfit_http_requests_total", "process_resident_memory_bytes"} <= set(named)
    assert {name: known[name] for name in named} == named


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("deploy/grafana/dashboards/rackfit.json", r'"expr": "((?:[^"\\]|\\.)*)"'),
        ("docs/runbook.md", r"\bq '([^']+)'"),
    ],
)
def test_prometheus_answers_every_query(path: str, pattern: str, prometheus: _Prometheus) -> None:
    """Prometheus itself parses and evaluates each query of the dashboard and of the runbook."""
    queries = re.findall(pattern, (ROOT / path).read_text())

    assert len(queries) > 20
    for query in queries:
        plain = query.replace('\\"', '"').replace("$__rate_interval", "1m")
        prometheus.query(plain.replace("$instance", ".*"))


def test_requests_are_counted_by_route_and_status(prometheus: _Prometheus) -> None:
    """What was asked is found under its route; a path nobody serves is not a route of its own."""
    counted = _wait(
        lambda: prometheus.query("sum by (route, status) (rackfit_http_requests_total)")
    )
    routes = {(series["metric"]["route"], series["metric"]["status"]) for series in counted}

    assert {("/v1/version", "200"), ("/v1/models", "200")} <= routes
    assert "404" in {status for _, status in routes}
    assert "/nowhere" not in {route for route, _ in routes}


def _configuration(port: int) -> Object:
    """Return our configuration with one target on loopback, absolute paths and short intervals."""
    configuration = msgspec.yaml.decode(CONFIGURATION.read_bytes(), type=Object)
    [job] = [job for job in configuration["scrape_configs"] if job["job_name"] == "rackfit"]
    return {
        "global": dict.fromkeys(configuration["global"], "1s"),
        "rule_files": [str(CONFIGURATION.parent / name) for name in configuration["rule_files"]],
        "scrape_configs": [job | {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }


def _wait(condition: Callable[[], T]) -> T:
    """Return what `condition` gives as soon as that is something; servers may still be starting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        time.sleep(0.1)
    raise TimeoutError
