"""The contract under fire: schemathesis against the service running for real.

Every check, every phase (examples, coverage, fuzzing, stateful), valid and invalid data;
`schemathesis.toml` says what is configured and why.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rackfit.api.operations import OPERATIONS
from serving import service

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "openapi/openapi.json"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
PHASES = ("Examples", "Coverage", "Fuzzing", "Stateful")
FEWEST_CASES = 2_000

Report = Callable[[str], None]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Print a line that is seen whether the test fails or not."""

    def show(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return show


def fuzz(url: str, *, examples: int, seed: int) -> str:
    """Run all checks and phases against the service at `url`; returns what was printed."""
    command = [str(Path(sys.executable).with_name("st")), "--config-file", str(CONFIGURATION)]
    command += ["run", str(CONTRACT), "--url", url, "--phases", ",".join(PHASES).lower()]
    command += ["--checks", "all", "--max-examples", str(examples), "--seed", str(seed)]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(  # noqa: S603 - words of our own
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def check(printed: str, report: Report) -> None:
    """See to it that nothing was left out, and report how much was tried."""
    assert f"Tested: {len(OPERATIONS)}" in printed
    for phase in PHASES:
        assert f"✅ {phase}" in printed
    summary = re.search(r"(\d+) generated, (\d+) passed", printed)
    assert summary is not None, printed
    assert summary[1] == summary[2]
    assert int(summary[1]) >= FEWEST_CASES
    report(f"schemathesis: {summary[0]}, {len(OPERATIONS)} operations, all checks and phases")


def test_the_service_keeps_its_contract(report: Report) -> None:
    """Nothing fails, the same cases each time."""
    with service(RACKFIT_REQUEST_TIMEOUT_SECONDS="0.5") as served:
        printed = fuzz(f"http://127.0.0.1:{served.port}", examples=20, seed=1)
    check(printed, report)


@pytest.mark.slow
def test_the_service_keeps_its_contract_at_length(report: Report) -> None:
    """Nothing fails, other cases each time; the seed is printed first.

    One of the checks is that no answer takes 10 seconds, which is also what requests are given.
    """
    seed = secrets.randbelow(1 << 32)
    report(f"seed {seed}")
    with service(RACKFIT_REQUEST_TIMEOUT_SECONDS="5") as served:
        printed = fuzz(f"http://127.0.0.1:{served.port}", examples=300, seed=seed)
    check(printed, report)
