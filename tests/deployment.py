"""What the tests of the deployment files share: where they are, and real tools to check them."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy/Dockerfile"
_RULES = ROOT / "deploy/prometheus/rules/rackfit.yml"


class Rule(msgspec.Struct, frozen=True):
    """One entry of a Prometheus rule file: a recording rule or an alert."""

    expr: str
    record: str | None = None
    alert: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Group(msgspec.Struct, frozen=True):
    rules: list[Rule]


class _RuleFile(msgspec.Struct, frozen=True):
    groups: list[_Group]


def read_rules() -> list[Rule]:
    """Return every recording rule and alert, in the order of evaluation."""
    groups = msgspec.yaml.decode(_RULES.read_bytes(), type=_RuleFile).groups
    return [rule for group in groups for rule in group.rules]


def read_alerts() -> dict[str, Rule]:
    """Return the alerts by name."""
    return {rule.alert: rule for rule in read_rules() if rule.alert is not None}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each with its arguments on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    words = [line.split(maxsplit=1) for line in joined.splitlines() if line]
    return [(instruction, arguments) for instruction, arguments in words]


def image_environment() -> dict[str, str]:
    """Return the settings of Rackfit that the image itself carries."""
    given = [arguments for name, arguments in instructions() if name == "ENV"]
    pairs = [pair.split("=", 1) for pair in " ".join(given).split()]
    return {name: value for name, value in pairs if name.startswith("RACKFIT_")}


def run(*command: str | Path, stdin: bytes = b"", cwd: Path = ROOT) -> str:
    """Run a tool and return what it printed; it must end with success."""
    ended = subprocess.run(  # noqa: S603 - the commands stand in the tests
        command,
        input=stdin,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    printed = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{printed}"
    return printed


def on_path(tool: str, reason: str) -> str:
    """Return the path of a tool of the system; skip the test where it is absent."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not on PATH: {reason}")
    return path


def installed(tool: str) -> Path:
    """Return the path of a tool that the test requirements install beside this interpreter."""
    return Path(sysconfig.get_path("scripts")) / tool
