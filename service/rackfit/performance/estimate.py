"""How fast a split serves: what splits of one model have in common is worked out once."""

from collections.abc import Sequence

from rackfit.catalog.entries import Accelerator, Efficiency
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.performance.efficiency import Applied, applied
from rackfit.performance.forward import Common, Forward
from rackfit.performance.layers import Measured
from rackfit.performance.run import Partition, Run
from rackfit.performance.serving import Serving


class Speeds:
    """Speeds of one model under one engine; what splits have in common is worked out once.

    A `partition` of the layers is the engine's own where none is given.
    """

    def __init__(
        self,
        model: ServedModel,
        engine: Engine,
        fitted: Sequence[Efficiency],
        context_tokens: int,
        measured: Measured | None = None,
    ) -> None:
        self._common = Common(model, engine, measured)
        self._fitted = fitted
        self._context_tokens = context_tokens
        self._forwards: dict[tuple[str, int, int, int, int, int], Forward] = {}
        self._applied: dict[str, tuple[Applied, Applied]] = {}

    def run(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None = None,
    ) -> Run | None:
        """How a split serves; None where the accelerator's bandwidth is not known."""
        if not accelerator.memory_bandwidth:
            return None
        generation = accelerator.generation
        if generation not in self._applied:
            name, fitted = self._common.engine.name, self._fitted
            self._applied[generation] = (
                applied(fitted, name, generation, "prefill"),
                applied(fitted, name, generation, "decode"),
            )
        forward, phases = self._forward(split, accelerator), self._applied[generation]
        return Run(forward, split, serving, phases, partition)

    def _forward(self, split: Split, accelerator: Accelerator) -> Forward:
        degrees = (split.tensor, split.data, split.expert, split.context, split.decode_context)
        key = (accelerator.id, *degrees)
        if key not in self._forwards:
            self._forwards[key] = Forward(self._common, split, accelerator, self._context_tokens)
        return self._forwards[key]
