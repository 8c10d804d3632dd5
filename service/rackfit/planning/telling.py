"""A fit as a plan on the wire: its ranks on their devices, what it holds, how it is started."""

from collections.abc import Sequence

import msgspec

from rackfit.engines.launch import Launched, Phase
from rackfit.engines.terms import kernels
from rackfit.inventory.model import Node
from rackfit.memory.stages import capacity, sequences_per_rank
from rackfit.planning.asked import Question
from rackfit.planning.expert_loads import ExpertLoads
from rackfit.planning.launches import LaunchOptions
from rackfit.planning.launching import launch
from rackfit.planning.outcomes import Fit, Share
from rackfit.planning.placement import place
from rackfit.planning.question import Performance, Plan, StageShare


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan is told from, beside its fit.

    `sequences` are held by all its replicas together; `options` are the caller's for `launch`, and
    so are `loads` of experts.
    """

    question: Question
    nodes: Sequence[Node]
    sequences: int
    options: LaunchOptions | None = None
    performance: Performance | None = None
    loads: ExpertLoads | None = None
    phase: Phase = "both"


def as_plan(fit: Fit, told: Told) -> Plan:
    """Put a settled fit's ranks on devices and say how they are started."""
    question = told.question
    engine, model, carried = question.engine, question.model, told.sequences
    experts = model.architecture.experts
    launched = Launched(
        model=model,
        split=fit.split,
        utilization=_utilization(fit, question),
        context_tokens=question.tokens,
        sequences=sequences_per_rank(fit.split, carried),
        phase=told.phase,
        partition=fit.partition,
        generation=kernels(fit.pool.accelerator),
    )
    vendor = fit.pool.accelerator.vendor
    placed = place(fit, told.nodes, engine, experts, carried)
    started = launch(engine, launched, placed, vendor, told.options)
    return Plan(
        split=fit.split,
        accelerator=fit.pool.accelerator.id,
        accelerators=fit.split.devices,
        nodes=placed.nodes,
        ranks=placed.ranks,
        replicas_listed=placed.replicas_listed,
        replicas_lost_with_a_node=fit.most_a_node or None,
        layers_by_stage=fit.partition,
        mixed=_mixed(fit),
        expert_balancedness=told.loads.balance(fit.split.expert) if told.loads else None,
        headroom_bytes=fit.headroom_bytes(sequences_per_rank(fit.split, carried)),
        capacity=capacity(engine, fit.split, fit.stages.distinct, fit.budgets, question.tokens),
        performance=told.performance,
        launch=started,
    )


def _utilization(fit: Fit, question: Question) -> float:
    """The share of each device that the engine is given, the same on all."""
    shares = fit.shares or (Share(fit.pool, fit.split.pipeline, fit.least_free),)
    return min(
        question.engine.utilization(question.start(fit.split, share.pool), share.least_free)
        for share in shares
    )


def _mixed(fit: Fit) -> tuple[StageShare, ...] | None:
    split = fit.split
    each = split.devices // split.pipeline
    return (
        tuple(
            StageShare(
                accelerator=share.pool.accelerator.id,
                stages=share.stages,
                accelerators=share.stages * each,
            )
            for share in fit.shares
        )
        or None
    )
