"""The dashboard asks for what exists, and shows the thresholds the alerts have."""

import itertools
import re

import msgspec
import promql_parser
import pytest

import promql
from deployment import ROOT, Rule

Known = dict[str, promql.Labels]

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class _Target(msgspec.Struct, frozen=True, rename="camel"):
    expr: str
    datasource: dict[str, str]
    legend_format: str

    @property
    def query(self) -> str:
        """The expression with values for the variables that Grafana replaces."""
        return self.expr.replace("$__rate_interval", "1m").replace("$instance", ".*")


class _Place(msgspec.Struct, frozen=True):
    x: int
    y: int
    w: int
    h: int

    @property
    def cells(self) -> list[tuple[int, int]]:
        columns, lines = range(self.x, self.x + self.w), range(self.y, self.y + self.h)
        return list(itertools.product(columns, lines))


class _Step(msgspec.Struct, frozen=True):
    value: float | None


class _Thresholds(msgspec.Struct, frozen=True):
    steps: list[_Step] = []


class _Defaults(msgspec.Struct, frozen=True):
    thresholds: _Thresholds = _Thresholds()


class _FieldConfig(msgspec.Struct, frozen=True, rename="camel"):
    defaults: _Defaults = _Defaults()


class _Panel(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    type: str
    title: str
    grid_pos: _Place
    description: str = ""
    datasource: dict[str, str] = {}
    targets: list[_Target] = []
    field_config: _FieldConfig = _FieldConfig()


class _Variable(msgspec.Struct, frozen=True):
    name: str
    query: str | dict[str, str]


class _Variables(msgspec.Struct, frozen=True):
    list: tuple[_Variable, ...]


class _Annotation(msgspec.Struct, frozen=True):
    expr: str


class _Annotations(msgspec.Struct, frozen=True):
    list: tuple[_Annotation, ...]


class _Dashboard(msgspec.Struct, frozen=True):
    panels: list[_Panel]
    templating: _Variables
    annotations: _Annotations


class _Source(msgspec.Struct, frozen=True, rename="camel"):
    type: str
    is_default: bool
    json_data: dict[str, str]


class _Sources(msgspec.Struct, frozen=True):
    datasources: list[_Source]


class _Global(msgspec.Struct, frozen=True):
    scrape_interval: str


class _Scraping(msgspec.Struct, frozen=True):
    globally: _Global = msgspec.field(name="global")


DASHBOARD = msgspec.json.decode(
    (ROOT / "deploy/grafana/dashboards/rackfit.json").read_bytes(), type=_Dashboard
)
PANELS = [panel for panel in DASHBOARD.panels if panel.type != "row"]

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)


@each_panel
def test_panel_asks_for_metrics_and_labels_that_exist(panel: _Panel, known: Known) -> None:
    """Every query parses, and every metric and label in it is exported or recorded."""
    assert panel.targets
    for target in panel.targets:
        assert [] == promql.complaints(target.query, known)


@each_panel
def test_legend_shows_labels_that_the_query_returns(panel: _Panel, known: Known) -> None:
    """A `{{label}}` in a legend is one that the query keeps."""
    for target in panel.targets:
        shown = set(re.findall(r"{{(\w+)}}", target.legend_format))

        assert set() == shown - promql.result_labels(promql_parser.parse(target.query), known)


@each_panel
def test_panel_obeys_the_data_source_and_instance_variables(panel: _Panel) -> None:
    """Queries go to the chosen data source and, unless recorded, ask the chosen instances only."""
    assert [DATA_SOURCE] * len(panel.targets) == [target.datasource for target in panel.targets]
    assert DATA_SOURCE == panel.datasource
    for target in panel.targets:
        names = re.findall(r"(?<![\w:$])(?:rackfit|process)_\w+(?!:)\b|\bup\b", target.expr)

        assert len(names) == target.expr.count('instance=~"$instance"')


def test_data_source_and_instance_are_variables(known: Known) -> None:
    """The dashboard works with any Prometheus and any set of instances."""
    variables = {variable.name: variable.query for variable in DASHBOARD.templating.list}
    query = variables["instance"]
    assert isinstance(query, dict)
    match = re.fullmatch(r"label_values\((\w+), (\w+)\)", query["query"])

    assert {"datasource", "instance"} == set(variables)
    assert "prometheus" == variables["datasource"]
    assert match is not None
    assert match[2] in known[match[1]]


def test_alerts_are_drawn_over_the_panels(known: Known, alerts: dict[str, Rule]) -> None:
    """The annotation query selects every alert of the rules while it fires."""
    [annotation] = DASHBOARD.annotations.list
    pattern = re.search(r'alertname=~"([^"]+)"', annotation.expr)

    assert [] == promql.complaints(annotation.expr, known)
    assert pattern is not None
    assert all(re.fullmatch(pattern[1], name) for name in alerts)


def test_threshold_lines_are_the_alerts_thresholds(alerts: dict[str, Rule]) -> None:
    """A panel that names an alert draws its line where that alert fires."""
    named = {
        match[1]: panel.field_config.defaults.thresholds.steps[-1].value
        for panel in PANELS
        if (match := re.search(r"threshold of (\w+)", panel.description))
    }

    assert named
    assert {name: promql.threshold(alerts[name].expr) for name in named} == named


def test_panels_are_described_and_do_not_overlap() -> None:
    """Each panel says what it shows and has an id and a place to itself."""
    cells = [cell for panel in DASHBOARD.panels for cell in panel.grid_pos.cells]

    assert all(panel.description for panel in PANELS)
    assert len(DASHBOARD.panels) == len({panel.id for panel in DASHBOARD.panels})
    assert len(cells) == len(set(cells))
    assert 23 == max(x for x, _ in cells)


def test_every_metric_of_rackfit_is_on_the_dashboard() -> None:
    """What is measured is also shown, directly or through a recording rule."""
    shown = "".join(target.expr for panel in PANELS for target in panel.targets)
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in promql.exported()}
    ours = sorted(family for family in families if family.startswith("rackfit_"))

    assert [] == [family for family in ours if family not in shown]


def test_provisioned_data_source_states_the_scrape_interval() -> None:
    """`$__rate_interval` is computed from the interval Prometheus really scrapes at."""
    provisioned = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
    [source] = msgspec.yaml.decode(provisioned.read_bytes(), type=_Sources).datasources
    scraping = msgspec.yaml.decode(
        (ROOT / "deploy/prometheus/prometheus.yml").read_bytes(), type=_Scraping
    )

    assert "prometheus" == source.type
    assert source.is_default
    assert scraping.globally.scrape_interval == source.json_data["timeInterval"]
