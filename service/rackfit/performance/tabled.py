"""Speeds out of tables of measured kernels, for the splits that they cover."""

from typing import Protocol

from rackfit.catalog.entries import Accelerator
from rackfit.engines.interface import Engine
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.performance.efficiency import Applied
from rackfit.performance.forward import Common
from rackfit.performance.layers import Measured
from rackfit.performance.run import Partition, Passes, Run
from rackfit.performance.serving import Serving

LOW, HIGH = 0.44, 1.2
"""The band of a time, as shares of it: eight in ten of 1,902 measured serving runs were within it.

Source: aiconfigurator-core 0.12, systems/silicon_sample.csv; `make silicon` holds it.
"""


class Tables(Protocol):
    """Kernels that somebody measured."""

    @property
    def source(self) -> str:
        """What the times rest on."""

    def forward(
        self, common: Common, split: Split, accelerator: Accelerator, context_tokens: int
    ) -> Passes:
        """Return the passes of a split.

        Raises:
            NotCovered: the tables have nothing for it.
        """


class TabledSpeeds:
    """Speeds of one model under one engine out of tables."""

    def __init__(
        self,
        model: ServedModel,
        engine: Engine,
        tables: Tables,
        context_tokens: int,
        measured: Measured | None = None,
    ) -> None:
        self._common = Common(model, engine, measured)
        self._tables = tables
        self._context_tokens = context_tokens

    @property
    def source(self) -> str:
        """What the times rest on."""
        return self._tables.source

    def run(
        self,
        split: Split,
        accelerator: Accelerator,
        serving: Serving,
        partition: Partition | None = None,
    ) -> Run:
        """How a split serves.

        Raises:
            NotCovered: the tables have nothing for it.
        """
        forward = self._tables.forward(self._common, split, accelerator, self._context_tokens)
        applied = Applied(1.0, LOW, HIGH, self.source)
        return Run(forward, split, serving, (applied, applied), partition)
