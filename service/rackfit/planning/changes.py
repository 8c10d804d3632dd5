"""Changes of a request as fixes: in short, in a sentence, as a patch."""

from collections.abc import Mapping
from typing import Any

from rackfit.engines.rejection import Fix, MoreNodes
from rackfit.engines.split import Split
from rackfit.planning.additions import Addition
from rackfit.planning.neighbours import SHORT
from rackfit.planning.refusals import things

Degree = Mapping[str, int]


def with_split(change: str, detail: str, split: Split, patch: dict[str, Any]) -> Fix:
    """A change that was tried with a split, whose patch insists on that split."""
    constraints = {**degrees(split), **patch.get("constraints", {})}
    return Fix(change, detail, verified=True, patch={**patch, "constraints": constraints})


def constrained(constraints: Mapping[str, Any], detail: str, *, verified: bool = True) -> Fix:
    """A change of constraints alone."""
    change = ",".join(f"{name}={_shown(value)}" for name, value in constraints.items())
    return Fix(change, detail, verified=verified, patch={"constraints": dict(constraints)})


def more_nodes(addition: Addition) -> Fix:
    """Nodes to add, and what then fits."""
    pool, split = addition.fit.pool, addition.fit.split
    name, each = pool.accelerator.id, pool.node_devices
    return Fix(
        f"nodes+{addition.nodes}",
        f"{things(addition.nodes, 'more node')} with {each} x {name}: "
        f"{shown(degrees(split))} fits, on {things(split.devices, 'accelerator')}.",
        verified=True,
        nodes=MoreNodes(number=addition.nodes, accelerator=name, count=each),
    )


def degrees(split: Split) -> dict[str, int]:
    """The degrees of a split that a request can insist on, replicas aside."""
    return {name: getattr(split, name) for name in SHORT}


def shown(given: Degree) -> str:
    """Degrees in short: `TP8 PP2`; those of one are left out where another is larger."""
    larger = {name: degree for name, degree in given.items() if degree > 1}
    return named(larger or {"tensor": given.get("tensor", 1)})


def named(given: Degree) -> str:
    """Degrees in short, those of one too."""
    return " ".join(f"{SHORT[name]}{degree}" for name, degree in given.items())


def _shown(value: object) -> str:
    if value is None or value is True:
        return {None: "null", True: "true"}[value]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
