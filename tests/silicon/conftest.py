"""The stand-in, put in the place of the package."""

import pytest

from rackfit.silicon import package
from silicon.standing import CONFIG, MODEL, Stand


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Put a stand-in in the place of the package, which carries one model."""
    there = Stand()
    monkeypatch.setattr(package, "VERSION", "0.12.0")
    monkeypatch.setattr(package, "carried", lambda: {MODEL: {"config": CONFIG}})
    monkeypatch.setattr(package, "compiled", there.compiled)
    return there
