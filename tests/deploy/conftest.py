"""Fixtures of the tests of what operators deploy."""

import pytest

import deployment
import promql


@pytest.fixture(scope="session")
def alerts() -> dict[str, deployment.Rule]:
    """Return the alerts by name."""
    return deployment.read_alerts()


@pytest.fixture(scope="session")
def known() -> dict[str, promql.Labels]:
    """Return labels by name of every series: exported, recorded, and made of alerts."""
    exported = promql.exported()
    recording = {rule.record: rule.expr for rule in deployment.read_rules() if rule.record}
    raised = {"alertname", "alertstate", "severity", "route", "reason", "kind"}
    return {
        **exported,
        **promql.recorded(recording, exported),
        "ALERTS": promql.TARGET_LABELS | raised,
    }


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the path of promtool."""
    return deployment.on_path("promtool", "Debian's package prometheus brings it")
