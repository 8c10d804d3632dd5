"""Reading metrics in tests."""

from prometheus_client import REGISTRY


class Counted:
    """How far each sample of the metrics has moved since this was made."""

    def __init__(self) -> None:
        self._before = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """Return the move of one sample, by its name in the exposition and all its labels."""
        now = REGISTRY.get_sample_value(name, labels) or 0.0
        return now - self._before.get((name, frozenset(labels.items())), 0.0)
