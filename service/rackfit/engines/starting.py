"""How an engine is started, with what one has that nobody can start: nothing at all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from rackfit.engines.launch import Host, Launched
from rackfit.engines.pairs import Handover, PairRule
from rackfit.engines.phases import Phases
from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split
from rackfit.engines.version import Version


class Starting:
    """The part of an engine that says which commands start it; an engine overrides what it has.

    `layer_list` is the variable that says how many layers each stage gets, if there is one;
    `phases` is what it does about replicas of one phase, `pair_rules` which of them go together;
    `pairs_stages` tells that they do with any stages on either side.
    """

    version: Version
    layer_list: ClassVar[str] = ""
    phases: ClassVar[Phases] = Phases()
    pair_rules: ClassVar[tuple[PairRule, ...]] = ()
    pairs_stages: ClassVar[bool] = True

    @property
    def takes_layers(self) -> bool:
        """Whether it can be told how many layers each stage gets."""
        return bool(self.layer_list)

    def pair_broken(self, pair: Handover) -> Iterator[Rejection]:
        """Yield every rule that replicas of two kinds break together."""
        found = (rule(self.version, pair) for rule in self.pair_rules)
        return (rejection for rejection in found if rejection is not None)

    def variables(self, launched: Launched) -> Mapping[str, str]:
        """Variables that every process of a plan is started with."""
        if launched.partition is None:
            return {}
        return {self.layer_list: ",".join(map(str, launched.partition))}

    def program(self, model: str) -> tuple[str, ...]:
        """The words that start the engine on one node, its arguments left out; none: unknown."""
        del model
        return ()

    def starts_on(self, split: Split, hosts: Sequence[Host]) -> bool:
        """Whether one command a node starts a replica on just these devices of `hosts`."""
        del split
        return len(hosts) == 1

    def node_arguments(
        self, launched: Launched, hosts: Sequence[Host], number: int, place: int
    ) -> tuple[str, ...]:
        """What the node `number` of a replica's `hosts` is told besides, in its place there."""
        del launched, hosts, number, place
        return ()

    def mpi_program(self, model: str) -> tuple[str, ...]:
        """The words that MPI starts as every rank of several nodes; none: it is not started so."""
        del model
        return ()

    def files(self, launched: Launched) -> Mapping[str, str]:
        """Return the files that the arguments name, to be written where it is started."""
        del launched
        return {}

    def arguments(self, launched: Launched) -> tuple[str, ...]:
        """The engine's own command-line arguments for a plan."""
        del launched
        return ()
