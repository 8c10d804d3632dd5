"""How fast a split serves: what splits of one model have in common is worked out once."""

from collections.abc import Sequence

from rackfit.catalog.entries import Accelerator, Efficiency
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.performance.efficiency import Applied, applied
from rackfit.performance.forward import Common, Forward
from rackfit.performance.layers import Measured
from rackfit.performance.run import Estimate, Partition, Rates, Run
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

    def rates(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None = None,
    ) -> Rates | None:
        """The rates of a split; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving, partition)
        return None if run is None else Rates(run.seconds_a_token, run.tokens_per_second)

    def seconds_to_first_token(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None = None,
    ) -> float | None:
        """Seconds to read a prompt; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving, partition)
        return None if run is None else run.seconds_to_first_token

    def prompts_per_second(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None = None,
    ) -> float | None:
        """Prompts read a second, nothing else; None where the bandwidth is not known."""
        run = self._run(split, accelerator, serving, partition)
        return None if run is None else run.prompts_per_second

    def estimate(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None = None,
    ) -> Estimate | None:
        """The speed of a split; None where the accelerator's bandwidth is not known."""
        run = self._run(split, accelerator, serving, partition)
        return None if run is None else run.estimate()

    def _run(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None,
    ) -> Run | None:
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
