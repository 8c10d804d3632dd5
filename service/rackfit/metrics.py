"""Every metric Rackfit exports; names and units follow Prometheus conventions."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # half the lines, read by nobody

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SPLITS = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000)

BUILD = Gauge(
    "rackfit_build_info",
    "Always 1; what is running.",
    ["version", "catalog"],
    multiprocess_mode="livemax",
)

REQUESTS = Counter(
    "rackfit_http_requests_total",
    "Requests answered, by route template, status (499: the client hung up) and cache outcome.",
    ["method", "route", "status", "cache"],
)
REQUEST_SECONDS = Histogram(
    "rackfit_http_request_duration_seconds",
    "Time from first byte in to last byte out.",
    ["method", "route", "cache"],
    buckets=SECONDS,
)
REQUESTS_IN_PROGRESS = Gauge(
    "rackfit_http_requests_in_progress",
    "Requests being answered now.",
    multiprocess_mode="livesum",
)

PLAN_SECONDS = Histogram(
    "rackfit_plan_search_duration_seconds", "Time of one plan search.", buckets=SECONDS
)
PLAN_SPLITS = Histogram(
    "rackfit_plan_search_splits", "Splits evaluated in one plan search.", buckets=SPLITS
)
PLANS = Counter(
    "rackfit_plans_total", "Plan searches ended, by outcome.", ["outcome"]
)  # feasible, infeasible, incomplete

CACHE_LOOKUPS = Counter(
    "rackfit_cache_lookups_total",
    "Cache look-ups by tier (memory, redis) and outcome (hit, miss, error, invalid, skipped).",
    ["tier", "outcome"],
)
CACHE_WRITES = Counter(
    "rackfit_cache_writes_total",
    "Answers given to the cache by tier (memory, redis) and outcome "
    "(stored, oversized, dropped, skipped, error).",
    ["tier", "outcome"],
)
CACHE_ENTRIES = Gauge(
    "rackfit_cache_entries", "Answers held in process.", multiprocess_mode="livesum"
)
CACHE_BYTES = Gauge(
    "rackfit_cache_bytes", "Bytes of answers held in process.", multiprocess_mode="livesum"
)
CACHE_EVICTIONS = Counter("rackfit_cache_evictions_total", "Answers dropped to stay in bounds.")
REDIS_CIRCUIT = Gauge(
    "rackfit_redis_circuit_state",
    "-1 no Redis is configured, 0 closed (in use), 1 half open (one probe under way), "
    "2 open (left alone).",
    multiprocess_mode="livemax",
)
REDIS_CIRCUIT.set(-1)
REDIS_SECONDS = Histogram(
    "rackfit_redis_operation_duration_seconds",
    "Time of one Redis operation.",
    ["operation"],
    buckets=SECONDS,
)
REDIS_ERRORS = Counter(
    "rackfit_redis_errors_total",
    "Redis operations that failed, by operation and kind "
    "(timeout, connection, authentication, refused, protocol, unexpected).",
    ["operation", "kind"],
)

COMPUTATIONS_IN_PROGRESS = Gauge(
    "rackfit_computations_in_progress",
    "Computations running or queued off the event loop.",
    multiprocess_mode="livesum",
)
REFUSED = Counter(
    "rackfit_requests_refused_total",
    "Requests refused for want of room or time (full, deadline, lost, bodies, closing).",
    ["reason"],
)
