"""The caller's trace, in the log."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from rackfit.api.tracing import trace_of
from rackfit.settings import Settings
from serving import running

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traced(*parents: bytes) -> str | None:
    """Return the trace of a request with these headers."""
    headers = [(b"accept", b"*/*"), *((b"traceparent", parent) for parent in parents)]
    found = trace_of(cast("Any", {"headers": headers}))
    return None if found is None else found.id


@pytest.mark.parametrize(
    "parent", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-what-comes"]
)
def test_a_sound_parent_names_its_trace(parent: str) -> None:
    """Of later versions what is known is read."""
    assert traced(parent.encode()) == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
    ],
)
def test_a_parent_of_another_form_is_passed_over(parent: str) -> None:
    """As the specification wants it."""
    assert traced(parent.encode()) is None


def test_none_and_two_parents_are_no_trace() -> None:
    """Nobody can tell which of two is meant."""
    assert traced() is None
    assert traced(*[f"00-{TRACE}-{SPAN}-01".encode()] * 2) is None


@given(parent=st.binary(max_size=80))
def test_whatever_is_sent_only_hexadecimal_digits_are_logged(parent: bytes) -> None:
    """Nothing else can come into a line that way."""
    found = traced(parent)
    assert found is None or (len(found) == 32 and set(found) <= set("0123456789abcdef"))


@pytest.mark.anyio
async def test_the_log_line_has_the_trace() -> None:
    """And those of requests without one do not."""
    with capture_logs() as logs:
        async with running(Settings()) as client:
            await client.get("/health/live", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
            await client.get("/health/live")
    traces = [entry.get("trace_id") for entry in logs if entry["event"] == "request"]
    assert traces == [TRACE, None]
