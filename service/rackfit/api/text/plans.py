"""Plans as text: feasible or not, the plans, where the best one's ranks go, and why not."""

from collections.abc import Sequence

import msgspec

from rackfit.api.text.figures import NONE, count, ranges, split_label, things
from rackfit.api.text.memory import capacity
from rackfit.api.text.rejections import rejections
from rackfit.api.text.table import Lines, page, paragraph, section, sentences, table
from rackfit.memory.question import RankMemory, gib
from rackfit.planning.launches import Launch
from rackfit.planning.question import (
    Disaggregated,
    Plan,
    PlanAnswer,
    PlannedRank,
    Shortfall,
)


class _Place(msgspec.Struct, frozen=True):
    """What a node's devices have in common that share a line."""

    node: str
    stage: int
    experts: str | None
    memory: RankMemory


def plan_answer(answer: PlanAnswer) -> str:
    """The verdict first; the best plan in full, the others a line each."""
    best = answer.plans[0] if answer.plans else None
    return page(
        _verdict(answer),
        _plans(answer.plans),
        section("Prefill and decode apart", _disaggregated(answer.disaggregated)),
        _placement(best.ranks) if best else [],
        _unlisted(best) if best else [],
        capacity(best.capacity) if best else [],
        _launch(best.launch) if best and best.launch else [],
        rejections(_rejected(answer), answer.rejections),
        sentences("Warnings", answer.warnings),
    )


def _verdict(answer: PlanAnswer) -> Lines:
    tried = f"{things(answer.splits_evaluated, 'split')} tried"
    if not answer.complete:
        tried += ", then the time was up"
    if answer.plans:
        best = answer.plans[0]
        where = _accelerators(best)
        return paragraph(f"FEASIBLE: {split_label(best.split)} on {where} ({tried})")
    if answer.complete:
        return paragraph(f"NOT FEASIBLE: {_lacking(answer.shortfall)} ({tried})")
    return paragraph(f"UNDECIDED: no plan so far ({tried})")


def _lacking(shortfall: Shortfall | None) -> str:
    if shortfall is None:
        return "no split fits"
    near = f"the nearest split lacks {gib(shortfall.bytes)} GiB; " if shortfall.bytes else ""
    more = [f"{number:,} more {name}" for name, number in shortfall.accelerators.items()]
    enough = f"{' or '.join(more)} would do" if more else "no number of these would do"
    return near + enough


def _plans(plans: Sequence[Plan]) -> Lines:
    titles = ("SPLIT", "ACCELERATORS", ">NODES", ">SPARE GiB", ">SEQS", ">TOKENS/s", ">ms/TOKEN")
    return table(titles, map(_plan, plans)) if plans else []


def _accelerators(plan: Plan) -> str:
    if plan.mixed:
        return " + ".join(f"{each.accelerators:,} x {each.accelerator}" for each in plan.mixed)
    return f"{plan.accelerators:,} x {plan.accelerator}"


def _plan(plan: Plan) -> tuple[str, ...]:
    speed = plan.performance
    return (
        split_label(plan.split),
        _accelerators(plan),
        count(len(plan.nodes)),
        gib(plan.headroom_bytes),
        count(plan.capacity.sequences),
        f"{speed.tokens_per_second:,.1f}" if speed else NONE,
        f"{speed.seconds_per_output_token * 1000:,.1f}" if speed else NONE,
    )


def _disaggregated(pairs: Sequence[Disaggregated]) -> Lines:
    titles = ("PREFILL", "DECODE", ">ALL", ">REQ/s", ">FIRST s", ">ms/TOKEN")
    return table(titles, map(_pair, pairs)) if pairs else []


def _pair(pair: Disaggregated) -> tuple[str, ...]:
    return (
        _on(pair.prefill),
        _on(pair.decode),
        f"{pair.accelerators:,}",
        f"{pair.requests_per_second:,.2f}",
        f"{pair.seconds_to_first_token:.2f}",
        f"{pair.seconds_per_output_token * 1e3:,.1f}",
    )


def _on(plan: Plan) -> str:
    return f"{split_label(plan.split)} on {plan.accelerators:,} {plan.accelerator}"


def _placement(ranks: Sequence[PlannedRank]) -> Lines:
    """The best plan's ranks by node; devices that carry the same share a line."""
    devices: dict[_Place, list[int]] = {}
    for rank in ranks:
        memory = msgspec.structs.replace(rank.memory, rank=0)
        place = _Place(rank.node, rank.stage, rank.experts, memory)
        devices.setdefault(place, []).append(rank.device)
    return table(
        ("NODE", "DEVICES", ">STAGE", "EXPERTS", ">GiB EACH", ">BUDGET"),
        [_place(place, on) for place, on in devices.items()],
    )


def _unlisted(plan: Plan) -> Lines:
    listed, replicas = plan.replicas_listed, plan.split.replicas
    if listed >= replicas:
        return []
    return paragraph(f"The ranks of the first {listed:,} of {replicas:,} replicas are listed.")


def _place(place: _Place, devices: Sequence[int]) -> tuple[str, ...]:
    budget = place.memory.budget_bytes
    return (
        place.node,
        ranges(devices),
        str(place.stage),
        place.experts or NONE,
        gib(place.memory.total_bytes),
        NONE if budget is None else gib(budget),
    )


def _launch(launch: Launch) -> Lines:
    arguments = [line for argument in launch.arguments for line in paragraph(argument, 1)]
    told = section(f"Arguments of {launch.engine}, the same on every node", arguments)
    commands = [
        line for one in launch.commands for line in paragraph(f"{one.node}: {one.command}", 1)
    ]
    if launch.no_commands:
        commands = paragraph(launch.no_commands, 1)
    return told + section("Commands", commands)


def _rejected(answer: PlanAnswer) -> str:
    told = sum(rejection.alike for rejection in answer.rejections)
    return f"Why not, {told:,} of {answer.rejections_total:,} rejected splits"
