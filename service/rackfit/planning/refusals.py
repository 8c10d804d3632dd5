"""Rejections in words: misses of the search, and why there was nothing to search."""

from math import prod
from operator import itemgetter

import msgspec

from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.split import Split
from rackfit.memory.refusals import memory_rejection, sequence_limit
from rackfit.memory.stages import RankLoad
from rackfit.planning.degrees import MAX_REPLICA_DEVICES
from rackfit.planning.outcomes import Miss
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints
from rackfit.planning.times import Times

OF_TENSOR = (
    "heads-not-divisible",
    "kv-heads-not-divisible",
    "feed-forward-not-divisible",
    "domain-too-small",
)
"""Codes of rules that look at the tensor degree alone."""

CALLERS = "the request's own constraints"
OURS = "Rackfit's own policy, no engine's rule: tensor groups stay inside a scale-up domain"


def things(number: int, noun: str) -> str:
    """Some of a thing: `1 replica`, `1,200 replicas`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def miss_rejection(miss: Miss) -> Rejection:
    """Put a miss into words: the fullest rank's memory, or the devices that lack."""
    name = miss.pool.accelerator.id
    match miss.lacks:
        case "memory":
            return msgspec.structs.replace(_too_full(miss), accelerator=name)
        case "sequences":
            held = sequence_limit(miss.split, miss.sequences, miss.held)
            return msgspec.structs.replace(held, accelerator=name)
        case "time":
            return _too_slow(miss, name)
        case "devices":
            return _too_few(miss, name)
        case "allowance":
            return _too_many(miss, name)


def _too_slow(miss: Miss, name: str) -> Rejection:
    pace, each = miss.pace, things(miss.sequences, "sequence")
    if pace is None:
        msg = f"a miss of times that nobody asked for: {miss.split}"
        raise AssertionError(msg)
    numbers: dict[str, int | float] = {"sequences_per_data_rank": miss.held, **pace.times.asked}
    estimate = pace.estimate(miss.split, miss.pool.accelerator, miss.sequences)
    if estimate is None:
        detail = f"No bandwidth is known of {name}, so that nothing is known to be in time."
    else:
        first, token = estimate.seconds_to_first_token, estimate.seconds_per_output_token
        numbers |= {"seconds_to_first_token": first.value, "seconds_per_output_token": token.value}
        detail = (
            f"With {each} a data rank it takes {first.value:.3g} s to the first token and "
            f"{token.value:.3g} s a token, by estimate; allowed are {_said(pace.times)}."
        )
    return Rejection(
        split=miss.split,
        code="too-slow",
        detail=detail,
        numbers=numbers,
        source=CALLERS,
        accelerator=name,
    )


def _said(times: Times) -> str:
    """Say which times the caller allows."""
    first = [] if times.first is None else [f"{times.first:g} s to the first"]
    each = [] if times.each is None else [f"{times.each:g} s a token"]
    return " and ".join(first + each)


def _too_few(miss: Miss, name: str) -> Rejection:
    split = miss.split
    wanted = "needs" if split.replicas == 1 else "need"
    return Rejection(
        split=split,
        code="not-enough-accelerators",
        detail=(
            f"{things(split.replicas, 'replica')} {wanted} {miss.needed * split.cell:,} {name}, "
            f"in groups of {split.cell} inside a domain; there is room for {miss.available:,} "
            f"of {things(miss.needed, 'group')}.{_lost(miss)}{_paced(miss)}"
        ),
        numbers={
            "groups_needed": miss.needed,
            "groups_available": miss.available,
            "sequences_per_data_rank": miss.held,
        },
        source="the inventory",
        accelerator=name,
    )


def _lost(miss: Miss) -> str:
    """Say what the loss of a node has to do with it, where the caller is prepared for one."""
    match miss.node_loss:
        case "serve":
            return " With any one node lost, the replicas that are left must hold all sequences."
        case "replan":
            return " The room on any one node does not count, as it may be lost."
        case None:
            return ""


def _paced(miss: Miss) -> str:
    """Say how few sequences a data rank serves, where the caller's times are why."""
    if miss.pace is None:
        return ""
    return f" In the times allowed a data rank serves {things(miss.held, 'sequence')} at most."


def _too_many(miss: Miss, name: str) -> Rejection:
    split = miss.split
    wanted = "needs" if split.replicas == 1 else "need"
    needed, allowed = miss.needed * split.cell, miss.available * split.cell
    return Rejection(
        split=split,
        code="constraint",
        detail=(
            f"{things(split.replicas, 'replica')} {wanted} {needed:,} {name}; the constraints "
            f"allow {allowed:,} in groups of {split.cell}."
        ),
        numbers={
            "accelerators_needed": needed,
            "accelerators_allowed": allowed,
            "sequences_per_data_rank": miss.held,
        },
        source=CALLERS,
        accelerator=name,
    )


def _too_full(miss: Miss) -> Rejection:
    each = miss.sequences
    rooms = [
        (stage.largest_fixed_bytes + each * stage.sequence_bytes - budget, stage, budget)
        for stage, budget in zip(miss.stages.distinct, miss.budgets, strict=True)
    ]
    _, stage, budget = max(rooms, key=itemgetter(0))
    place = next(n for n, other in enumerate(miss.stages.all) if other is stage)
    load = RankLoad(
        rank=place * miss.split.cell,
        stage=place,
        sequences=each,
        extra_expert=stage.extra_expert_bytes > 0,
        budget_bytes=budget,
    )
    rejection = memory_rejection(miss.split, stage.rank_memory(load))
    if rejection is None:
        msg = f"a miss that fits: {miss.split}"
        raise AssertionError(msg)
    return rejection


def leaves_domain(split: Split, pool: Pool) -> Rejection | None:
    """Refuse tensor groups, with their context ranks, larger than every domain of a pool."""
    room = pool.largest_domain
    if split.cell <= room:
        return None
    group = f"TP{split.tensor}" if split.context == 1 else f"TP{split.tensor} CP{split.context}"
    detail = (
        f"{group} would leave its scale-up domain: the largest has {room} {pool.accelerator.id}. "
        "Engines start such a group over the network too; Rackfit does not plan it there, where "
        "every layer's all-reduce would wait for the slowest link. Nodes that do share a domain "
        "(trays of an NVL72 rack) are joined by giving them the same `domain`; ranks of `pipeline` "
        "or `data` may be in different ones."
    )
    return Rejection(
        split=split,
        code="domain-too-small",
        detail=detail,
        numbers={"tensor": split.tensor, "context": split.context, "domain_devices": room},
        source=OURS,
    )


def no_such_accelerators() -> Rejection:
    """The caller's accelerators are not in the inventory."""
    detail = "The inventory has none of the accelerators asked for."
    return Rejection(split=Split(), code="constraint", detail=detail, source=CALLERS)


def all_reserved(pool: Pool) -> Rejection:
    """Say that what is reserved leaves no device of a type."""
    reserved, name = msgspec.to_builtins(pool.reserved), pool.accelerator.id
    missing = pool.spares_missing
    detail = (
        f"{things(reserved['nodes'], 'whole node')} of {name} shall be spare; "
        f"{things(reserved['nodes'] - missing, 'node')} of it, wholly free, can be."
        if missing
        else f"What is reserved leaves no {name}."
    )
    usable = pool.accelerator.usable_bytes
    if not missing and reserved["bytes_per_device"] > usable:
        kept = f"{reserved['bytes_per_device']:,} bytes of each device"
        detail += f" {kept} are more than one has: {usable:,}."
    return Rejection(
        split=Split(), code="constraint", detail=detail, numbers=reserved, source=CALLERS
    )


def nothing_to_try(constraints: Constraints, layers: int) -> Rejection:
    """Say which of the caller's constraints leave no split of any size to try."""
    code, detail, numbers = _contradiction(constraints, layers)
    return Rejection(
        split=Split(
            tensor=constraints.tensor or 1,
            pipeline=constraints.pipeline or 1,
            data=constraints.data or 1,
            context=constraints.context or 1,
        ),
        code=code,
        detail=detail,
        numbers=numbers,
        source=CALLERS,
    )


def _contradiction(
    constraints: Constraints, layers: int
) -> tuple[RejectionCode, str, dict[str, int | float]]:
    degrees = (constraints.tensor, constraints.pipeline, constraints.data, constraints.context)
    least = prod(degree or 1 for degree in degrees)
    if constraints.pipeline is not None and constraints.pipeline > layers:
        detail = f"{constraints.pipeline} pipeline stages cannot each hold one of {layers} layers."
        return "more-stages-than-layers", detail, {"layers": layers}
    if least > MAX_REPLICA_DEVICES:
        detail = (
            f"The degrees ask for {least:,} accelerators a replica; replicas of up to "
            f"{MAX_REPLICA_DEVICES} are tried."
        )
        return "constraint", detail, {"needed": least, "tried": MAX_REPLICA_DEVICES}
    given: dict[str, int | float] = {
        name: value
        for name in constraints.__struct_fields__
        if isinstance(value := getattr(constraints, name), int)
    }
    stated = ", ".join(f"{name} = {value}" for name, value in given.items())
    ranks = "tensor x data" if constraints.context is None else "tensor x data x context"
    detail = f"No split meets all constraints ({stated}); expert must divide {ranks}."
    return "constraint", detail, given
