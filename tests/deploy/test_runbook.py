"""The runbook: a heading for each alert, and commands that can be pasted."""

import os
import re
import shlex

import msgspec
import pytest

import deployment
import promql
from deployment import ROOT, Rule, run

RUNBOOK = (ROOT / "docs/runbook.md").read_text()
FIRST = "Before you begin"

_, *_PARTS = re.split(r"^## (.+)\n", RUNBOOK, flags=re.MULTILINE)
SECTIONS = dict(zip(_PARTS[::2], _PARTS[1::2], strict=True))
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", RUNBOOK, flags=re.MULTILINE | re.DOTALL)
QUERIES = re.findall(r"\bq '([^']+)'", RUNBOOK)


def _kubectl_commands() -> list[str]:
    """Return every kubectl command in a block, a function or a sentence."""
    lines = "".join(BLOCKS)
    in_blocks = re.findall(r"(?:^|[{|] )(kubectl [^&;\n]+)", lines, flags=re.MULTILINE)
    in_sentences = re.findall(r"(?<!`)`(kubectl [^`]+)`", RUNBOOK)
    return sorted({" ".join(command.split()) for command in in_blocks + in_sentences})


def test_every_alert_has_its_heading(alerts: dict[str, Rule]) -> None:
    """The links of the alerts lead to a heading, and no heading is of an alert that is gone."""
    assert {FIRST, *alerts} == set(SECTIONS)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != FIRST])
def test_section_says_what_it_means_what_to_look_at_and_what_to_do(name: str) -> None:
    """A section has its three parts in order, with commands between looking and doing."""
    parts = r"\n\*\*Means\.\*\* .+\*\*Look\.\*\*.+```sh\n.+\n```\n.*\*\*Do\.\*\*\n- .+"

    assert re.fullmatch(parts, SECTIONS[name], flags=re.DOTALL)


@pytest.mark.parametrize("query", QUERIES)
def test_query_names_metrics_and_labels_that_exist(
    query: str, known: dict[str, promql.Labels]
) -> None:
    """Every query parses, and every metric and label in it is exported or recorded."""
    assert [] == promql.complaints(query, known)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_is_shell(block: str) -> None:
    """A POSIX shell parses every block."""
    assert "" == run("sh", "-n", stdin=block.encode())


@pytest.mark.parametrize("command", _kubectl_commands())
def test_kubectl_knows_the_command(command: str) -> None:
    """Subcommands and flags exist: kubectl gets as far as finding no cluster."""
    kubectl = deployment.on_path("kubectl", "its commands in docs/runbook.md were not checked")
    _, *arguments = shlex.split(command.replace('"$@"', "ping"))

    with pytest.raises(AssertionError, match="refused"):
        run(
            *(kubectl, "--server", "http://127.0.0.1:9", "--kubeconfig", os.devnull, *arguments),
            stdin=(ROOT / "deploy/kubernetes/base/namespace.yaml").read_bytes(),
        )


def test_links_lead_to_headings() -> None:
    """Every link inside the runbook has a heading at its end."""
    anchors = {name.lower().replace(" ", "-") for name in SECTIONS}

    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def test_alerts_become_a_prometheus_rule() -> None:
    """The block that loads the alerts into the operator makes a PrometheusRule of all of them."""
    [block] = [block for block in BLOCKS if "PrometheusRule" in block]
    made = run("sh", stdin=block.replace("| kubectl apply --filename -", "").encode())
    resource = msgspec.yaml.decode(made.encode())
    rules = msgspec.yaml.decode((ROOT / "deploy/prometheus/rules/rackfit.yml").read_bytes())

    assert {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "rackfit", "namespace": "rackfit"},
        "spec": rules,
    } == resource
