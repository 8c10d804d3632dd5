"""What deployment files and runbook refer to exists: settings and images."""

import re
from pathlib import Path

import pytest

from deployment import ROOT
from rackfit.settings import PREFIX, Settings

FILES = [
    ROOT / "docker-compose.yml",
    ROOT / "docs/runbook.md",
    *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
]
IMAGE = re.compile(r"^\s*(?:image:\s*|FROM |ARG \w*IMAGE=)([^\s$]+)", re.MULTILINE)
# Ours: built by Compose under a name of its own, and tagged by kustomize.
BUILT_HERE = {"rackfit:local", "rackfit"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_variables_are_settings(path: Path) -> None:
    """Every RACKFIT_ variable named in a file is one the service reads."""
    named = set(re.findall(rf"{PREFIX}[A-Z][A-Z_]*", path.read_text()))

    assert set() == named - set(Settings.variables())


def test_images_are_pinned() -> None:
    """Every image of others is named with the tag of a release; none floats."""
    images = {image for path in FILES for image in IMAGE.findall(path.read_text())}
    foreign = images - BUILT_HERE

    assert {"grafana/grafana", "prom/prometheus", "python", "valkey/valkey"} == {
        image.split(":")[0] for image in foreign
    }
    assert all(re.fullmatch(r"[^:]+:v?\d+\.\d+[\w.-]*", image) for image in foreign)
