"""Every operation there is: routes, the contract and its tests are derived from this list."""

from collections.abc import Mapping

from rackfit.api import (
    accelerators,
    documentation,
    expert_placements,
    health,
    inventories,
    memory,
    models,
    plans,
    quantizations,
    recommendations,
    version,
)
from rackfit.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *models.OPERATIONS,
    *memory.OPERATIONS,
    *plans.OPERATIONS,
    *recommendations.OPERATIONS,
    *expert_placements.OPERATIONS,
    *inventories.OPERATIONS,
    *accelerators.OPERATIONS,
    *quantizations.OPERATIONS,
    *version.OPERATIONS,
    *health.OPERATIONS,
    *documentation.OPERATIONS,
)
BY_ID: Mapping[str, Operation] = {operation.id: operation for operation in OPERATIONS}
