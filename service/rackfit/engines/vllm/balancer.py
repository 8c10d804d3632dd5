"""A placement of experts as vLLM's load balancer keeps it."""

from collections.abc import Sequence


def balancer_maps(layers: Sequence[Sequence[int]], experts: int) -> dict[str, list[object]]:
    """Return the maps of layers [layers][slots], each slot's expert.

    From slots to experts, from experts to slots (-1 where others have more), and how many each
    has. Source: vllm/distributed/eplb/eplb_state.py, EplbModelState.
    """
    where = [_slots(layer, experts) for layer in layers]
    most = max(len(slots) for layer in where for slots in layer)
    return {
        "physical_to_logical_map": [list(layer) for layer in layers],
        "logical_to_physical_map": [
            [slots + [-1] * (most - len(slots)) for slots in layer] for layer in where
        ],
        "logical_replica_count": [[len(slots) for slots in layer] for layer in where],
    }


def _slots(layer: Sequence[int], experts: int) -> list[list[int]]:
    """Return the slots of every expert, in one pass."""
    found: list[list[int]] = [[] for _ in range(experts)]
    for slot, expert in enumerate(layer):
        found[expert].append(slot)
    return found
