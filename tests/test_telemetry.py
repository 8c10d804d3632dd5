"""Spans reach a collector, in the caller's trace; and no answer waits for one that is away."""

import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rackfit import __version__, telemetry
from rackfit.settings import Settings, read_settings
from rackfit.telemetry import check_telemetry
from servers import free_port
from serving import service

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PLAN = {
    "model": {"id": "deepseek-v4-pro"},
    "workload": {"context_tokens": 8192},
    "inventory": {"nodes": [{"name": "a", "accelerator": "H200", "count": 8}]},
}


class Told(NamedTuple):
    """A span as the collector gets it."""

    trace: str
    id: str
    parent: str
    name: str
    status: int
    attributes: dict[str, Any]


class Collector:
    """Takes OTLP over HTTP on loopback."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.services: set[tuple[str, str]] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Take what is sent."""
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(HTTPStatus.OK)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Note the spans."""
        for sent in request.resource_spans:
            resource = {a.key: a.value.string_value for a in sent.resource.attributes}
            self.services.add((resource["service.name"], resource["service.version"]))
            for span in (span for scope in sent.scope_spans for span in scope.spans):
                given = {a.key: a.value for a in span.attributes}
                self.spans.append(
                    Told(
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.name,
                        given["http.response.status_code"].int_value,
                        {key: value.string_value for key, value in given.items()},
                    )
                )


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Listen for the time of a test."""
    there = Collector()
    yield there
    there.server.shutdown()
    there.server.server_close()


def test_every_request_is_a_span_in_its_callers_trace(collector: Collector) -> None:
    """Computed, kept and refused answers alike, all sent before the service ends."""
    with (
        service(RACKFIT_OTLP_ENDPOINT=collector.endpoint) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        for _ in range(4):
            client.post("/v1/plans", json=PLAN, headers=headers).raise_for_status()
        assert HTTPStatus.NOT_FOUND == client.get("/nowhere").status_code
        client.get("/v1/version", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    plans = [span for span in collector.spans if span.name == "POST /v1/plans"]
    (lost,) = [span for span in collector.spans if span.status == HTTPStatus.NOT_FOUND]

    assert {("rackfit", __version__)} == collector.services
    assert 4 == len(plans) == len({span.id for span in plans})
    assert {(TRACE, SPAN)} == {(span.trace, span.parent) for span in plans}
    assert ["computed", "memory", "memory", "memory"] == [
        s.attributes["rackfit.cache"] for s in plans
    ]
    assert ("", "/nowhere") == (lost.parent, lost.attributes["url.path"])
    assert lost.trace != TRACE
    assert not [span for span in collector.spans if span.name == "GET /v1/version"]
    lines = running.log
    assert {span.id for span in plans} == {
        line["span_id"] for line in lines if line.get("route") == "/v1/plans"
    }


def test_a_collector_that_is_away_costs_no_answer() -> None:
    """Requests are answered, and the service ends in time."""
    with (
        service(RACKFIT_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}") as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        assert {HTTPStatus.OK} == {client.get("/v1/version").status_code for _ in range(20)}
        started = time.monotonic()
        running.stop()
        assert time.monotonic() - started < 10


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything listens, and with what to do."""
    monkeypatch.setattr(telemetry, "find_spec", lambda _: None)
    check_telemetry(Settings())
    with pytest.raises(ValueError, match=r"RACKFIT_OTLP_ENDPOINT.*rackfit\[otel\]"):
        check_telemetry(Settings(otlp_endpoint="http://otel:4318"))


@pytest.mark.parametrize("wrong", ["otel:4318", "ftp://otel", "http://otel/?a=b", "http://a b"])
def test_an_endpoint_is_a_url(wrong: str) -> None:
    """Of HTTP, without query or blanks; a wrong one is told what it should look like."""
    right = r"RACKFIT_OTLP_ENDPOINT is '.*'; it must be .* like http://host:4318 or https://host/"
    with pytest.raises(ValueError, match=right):
        read_settings({"RACKFIT_OTLP_ENDPOINT": wrong})
