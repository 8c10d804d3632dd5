"""Rejections in words: misses of the search, and why there was nothing to search."""

from collections.abc import Sequence
from math import prod

import msgspec

from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.memory.answer import memory_rejection
from rackfit.memory.stages import RankLoad
from rackfit.planning.evaluation import Miss
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints


def miss_rejection(miss: Miss) -> Rejection:
    """Put a miss into words: the fullest rank's memory, or the devices that lack."""
    name = miss.pool.accelerator.id
    if not miss.needed:
        return msgspec.structs.replace(_memory_rejection(miss), accelerator=name)
    devices = miss.needed * miss.split.tensor
    return Rejection(
        split=miss.split,
        code="not-enough-accelerators",
        detail=(
            f"{miss.split.replicas} replica(s) need {devices} {name}, in groups of "
            f"{miss.split.tensor} inside a domain; there is room for {miss.available} of "
            f"{miss.needed} groups."
        ),
        numbers={
            "groups_needed": miss.needed,
            "groups_available": miss.available,
            "sequences_per_data_rank": miss.held,
        },
        source="the inventory",
        accelerator=name,
    )


def _memory_rejection(miss: Miss) -> Rejection:
    rooms = list(zip(miss.stages, miss.budgets, strict=True))
    each = miss.sequences
    lacking = [s.largest_fixed_bytes + each * s.sequence_bytes - b for s, b in rooms]
    worst = lacking.index(max(lacking))
    stage, budget = rooms[worst]
    load = RankLoad(
        rank=worst * miss.split.tensor,
        stage=worst,
        sequences=each,
        extra_expert=stage.extra_expert_bytes > 0,
        budget_bytes=budget,
    )
    rejection = memory_rejection(miss.split, stage.rank_memory(load))
    if rejection is None:
        msg = f"a miss that fits: {miss.split}"
        raise AssertionError(msg)
    return rejection


def nothing_searched(
    constraints: Constraints, model: ServedModel, pools: Sequence[Pool]
) -> Rejection:
    """Say which of the caller's constraints left no split to try."""
    code, detail, numbers = _contradiction(constraints, len(model.order), pools)
    return Rejection(
        split=Split(
            tensor=constraints.tensor or 1,
            pipeline=constraints.pipeline or 1,
            data=constraints.data or 1,
        ),
        code=code,
        detail=detail,
        numbers=numbers,
        source="the request's own constraints",
    )


def _contradiction(
    constraints: Constraints, layers: int, pools: Sequence[Pool]
) -> tuple[RejectionCode, str, dict[str, float]]:
    devices = max((pool.devices(0) for pool in pools), default=0)
    least = prod(d or 1 for d in (constraints.tensor, constraints.pipeline, constraints.data))
    if not pools:
        return "constraint", "The inventory has none of the accelerators asked for.", {}
    if constraints.pipeline is not None and constraints.pipeline > layers:
        detail = f"{constraints.pipeline} pipeline stages cannot each hold one of {layers} layers."
        return "more-stages-than-layers", detail, {"layers": layers}
    if least > devices:
        detail = f"The degrees ask for {least} accelerators; the inventory has {devices} of a type."
        return "not-enough-accelerators", detail, {"needed": least, "available": devices}
    given: dict[str, float] = {
        name: value
        for name in constraints.__struct_fields__
        if isinstance(value := getattr(constraints, name), int)
    }
    stated = ", ".join(f"{name} = {value}" for name, value in given.items())
    detail = f"No split meets all constraints ({stated}); expert must divide tensor x data."
    return "constraint", detail, given
