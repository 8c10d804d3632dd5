"""The scrape configuration, the rules and their own unit tests."""

from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

import promql
from deployment import ROOT, Rule, read_rules, run
from rackfit import metrics

PROMETHEUS = ROOT / "deploy/prometheus"
UNIT_TESTS = sorted((PROMETHEUS / "rules/tests").glob("*.yml"))

Known = dict[str, promql.Labels]


class _Case(msgspec.Struct, frozen=True):
    alertname: str
    exp_alerts: list[object] = []


class _Test(msgspec.Struct, frozen=True):
    alert_rule_test: list[_Case] = []


class _TestFile(msgspec.Struct, frozen=True):
    tests: list[_Test]


def test_promtool_accepts_configuration_and_rules(promtool: str) -> None:
    """Prometheus loads the scrape configuration and the rule file beside it."""
    printed = run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")

    assert "1 rule files found" in printed


def test_promtool_finds_no_duplicate_rule(promtool: str) -> None:
    """No two rules record the same series or raise the same alert."""
    printed = run(
        promtool, "check", "rules", "--lint=all", "--lint-fatal", PROMETHEUS / "rules/rackfit.yml"
    )

    assert f"SUCCESS: {len(read_rules())} rules found" in printed


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_promtool_unit_tests_pass(path: Path, promtool: str) -> None:
    """Each alert fires, with these labels and this text, exactly when its unit test says so."""
    assert "SUCCESS" in run(promtool, "test", "rules", path)


def test_promtool_finds_metric_names_and_units_conventional(promtool: str) -> None:
    """Every metric Rackfit exports follows the naming conventions of Prometheus."""
    registry = CollectorRegistry()
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            registry.register(metric)

    assert "" == run(promtool, "check", "metrics", stdin=generate_latest(registry))


def test_every_alert_is_shown_to_fire_and_to_stay_silent(alerts: dict[str, Rule]) -> None:
    """No alert goes without a unit test of either kind, and no unit test names another."""
    files = [msgspec.yaml.decode(path.read_bytes(), type=_TestFile) for path in UNIT_TESTS]
    cases = [case for file in files for test in file.tests for case in test.alert_rule_test]

    assert set(alerts) == {case.alertname for case in cases if case.exp_alerts}
    assert set(alerts) == {case.alertname for case in cases if not case.exp_alerts}


def test_every_alert_says_how_bad_what_and_what_to_do(alerts: dict[str, Rule]) -> None:
    """An alert has a severity, a summary, a description and its heading in the runbook."""
    for name, alert in alerts.items():
        assert alert.labels["severity"] in {"critical", "warning"}
        assert alert.annotations["summary"]
        assert alert.annotations["description"]
        assert f"docs/runbook.md#{name.lower()}" == alert.annotations["runbook_url"]


@pytest.mark.parametrize("rule", read_rules(), ids=lambda rule: rule.alert or rule.record)
def test_rule_names_only_metrics_and_labels_that_exist(rule: Rule, known: Known) -> None:
    """Neither a metric nor a label in the expression is misspelt or gone."""
    assert [] == promql.complaints(rule.expr, known)


def test_recorded_names_begin_with_the_labels_they_keep(known: Known) -> None:
    """A recording rule is named level:metric:operation, its level the labels it keeps."""
    recorded = [rule.record for rule in read_rules() if rule.record]
    levels = {name: frozenset(name.split(":")[0].split("_")) for name in recorded}

    assert levels == {name: known[name] for name in recorded}


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("rate(rackfit_http_request_total[5m])", "no metric rackfit_http_request_total"),
        ('rackfit_cache_bytes{tier="redis"}', "rackfit_cache_bytes has no tier"),
        ("sum by (tier) (rackfit_cache_bytes)", "nothing below has tier to aggregate by"),
        (
            "sum by (job) (rackfit_cache_bytes) / on (instance) rackfit_cache_entries",
            "not both sides have instance to match on",
        ),
    ],
)
def test_what_does_not_exist_is_noticed(expression: str, complaint: str, known: Known) -> None:
    """The checks above see a wrong metric, matcher, grouping and join."""
    assert [complaint] == promql.complaints(expression, known)
