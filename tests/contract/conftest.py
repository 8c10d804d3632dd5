"""Services to probe, each running for real for all probes of a module."""

from collections.abc import Iterator

import pytest

from serving import ANSWER_SECONDS, Service, service


@pytest.fixture(scope="module")
def served() -> Iterator[Service]:
    """Run the service with its default settings, and more time where the machine is loaded."""
    with service(RACKFIT_REQUEST_TIMEOUT_SECONDS=f"{ANSWER_SECONDS - 5:g}") as running:
        yield running


@pytest.fixture(scope="module")
def small() -> Iterator[Service]:
    """Run the service with small limits."""
    with service(
        RACKFIT_BODY_LIMIT_BYTES="1000",
        RACKFIT_MODEL_BODY_LIMIT_BYTES="1000",
        RACKFIT_PLAN_BODY_LIMIT_BYTES="2000",
        RACKFIT_BATCH_LIMIT="3",
        RACKFIT_REQUEST_TIMEOUT_SECONDS="1",
    ) as running:
        yield running
