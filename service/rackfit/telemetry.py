"""Spans of requests, sent to an OpenTelemetry collector where one is configured (extra `otel`).

Sent in the background, and dropped when the collector is away: no answer waits for it.
"""

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from rackfit import __version__
from rackfit.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context

EXPORT_SECONDS = 2
"""Time of one attempt to send spans."""

_NANOSECONDS = 1_000_000_000
_SERVER_ERROR = 500


class Trace(NamedTuple):
    """Where a request stands in its caller's trace: ids in hexadecimal, and whether it is kept."""

    id: str
    span: str
    sampled: bool


def check_telemetry(settings: Settings) -> None:
    """See that what is asked for can be done.

    Raises:
        ValueError: a sentence that names the variable.
    """
    if settings.otlp_endpoint is not None and find_spec("opentelemetry") is None:
        msg = 'RACKFIT_OTLP_ENDPOINT needs what `pip install "rackfit[otel]"` brings.'
        raise ValueError(msg)


class Spans:
    """The spans of one serving process, one a request."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - of the extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased  # noqa: PLC0415

        service = {"service.name": "rackfit", "service.version": __version__}
        self._provider = TracerProvider(
            resource=Resource.create(service),
            sampler=ParentBased(ALWAYS_ON),
            shutdown_on_exit=False,
        )
        url = f"{endpoint.rstrip('/')}/v1/traces"
        exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rackfit", __version__)

    def record(self, told: dict[str, Any], seconds: float, parent: Trace | None) -> None:
        """Make a request's span of what its log line tells, and add its ids to that."""
        from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - of the extra

        ended = time.time_ns()
        span = self._tracer.start_span(
            f"{told['method']} {told['route']}",
            _context(parent),
            kind=SpanKind.SERVER,
            start_time=ended - round(seconds * _NANOSECONDS),
            attributes={
                "http.request.method": told["method"],
                "http.response.status_code": told["status"],
                "http.response.body.size": told["sent_bytes"],
                "http.route": told["route"],
                "url.path": told["path"],
                "rackfit.cache": told["cache"],
                "rackfit.request_id": told["request_id"],
            },
        )
        if told["status"] >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end(ended)
        own = span.get_span_context()
        told["trace_id"], told["span_id"] = f"{own.trace_id:032x}", f"{own.span_id:016x}"

    def close(self) -> None:
        """Send what is left; takes `EXPORT_SECONDS` at most where nobody listens."""
        self._provider.shutdown()


def _context(parent: Trace | None) -> "Context":
    """Return the context of a span: its caller's, or none at all."""
    from opentelemetry.context import Context  # noqa: PLC0415 - of the extra
    from opentelemetry.trace import (  # noqa: PLC0415
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    if parent is None:
        return Context()
    caller = SpanContext(
        trace_id=int(parent.id, 16),
        span_id=int(parent.span, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT),
    )
    return set_span_in_context(NonRecordingSpan(caller), Context())


class Telemetry:
    """What this process exports: set when the application is made, None where nothing is."""

    spans: Spans | None = None

    @classmethod
    def begin(cls, settings: Settings) -> None:
        """Export spans from now on, if that is configured."""
        endpoint = settings.otlp_endpoint
        cls.spans = None if endpoint is None else Spans(endpoint)

    @classmethod
    def end(cls) -> None:
        """Send what is left and export no more."""
        spans, cls.spans = cls.spans, None
        if spans is not None:
            spans.close()
