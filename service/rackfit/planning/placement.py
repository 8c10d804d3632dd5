"""Which rank on which device, and what each of them holds."""

from collections.abc import Sequence
from itertools import chain, islice

import msgspec

from rackfit.architecture.model import ExpertFeedForward
from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host
from rackfit.engines.split import Split
from rackfit.inventory.model import Node
from rackfit.memory.rank_order import Position, positions
from rackfit.memory.stages import RankLoad, sequences_per_rank
from rackfit.planning.cells import Cell, apart_cells, even_cells, packed_cells
from rackfit.planning.outcomes import Fit, Share
from rackfit.planning.question import PlannedRank

MAX_LISTED = 4096
"""Ranks listed a plan; a million of them would be an answer of hundreds of megabytes."""


class Placement(msgspec.Struct, frozen=True):
    """Where a split's ranks are: every node used, and the ranks of `replicas_listed` replicas.

    Nodes are in the order of their first listed rank, then those of replicas not listed.
    """

    nodes: tuple[str, ...]
    ranks: tuple[PlannedRank, ...]
    replicas_listed: int


def place(
    fit: Fit,
    nodes: Sequence[Node],
    engine: Engine,
    experts: ExpertFeedForward | None,
    sequences: int,
) -> Placement:
    """Put the ranks of a settled split on devices, `sequences` over the deployment.

    Replicas are alike: beyond `MAX_LISTED` ranks only the first are listed.
    """
    split, cells = fit.split, chosen_cells(fit)
    listed = min(split.replicas, max(MAX_LISTED // split.devices_per_replica, 1))
    carried = sequences_per_rank(split, sequences)
    budgets = fit.stages.each(fit.budgets)
    ranks = tuple(
        _planned(
            fit,
            at,
            cells=cells,
            nodes=nodes,
            engine=engine,
            experts=experts,
            carried=carried,
            budgets=budgets,
        )
        for at in islice(positions(split), listed * split.devices_per_replica)
    )
    used = (nodes[node].name for cell in cells for node, _ in cell)
    return Placement(tuple(dict.fromkeys(chain((r.node for r in ranks), used))), ranks, listed)


def settled(fit: Fit, engine: Engine) -> Fit:
    """The fit with the groups it takes, chosen once for all that is told of it.

    Replicas apart where it says so, else packed; where its engine is not started on such nodes but
    on some that share a replica evenly, these.
    """
    cells = _cells_of(fit)
    split = fit.split
    if split.replicas == 1 and not fit.shares and not engine.starts_on(split, _hosts(split, cells)):
        even = even_cells(fit.pool, split.cell, fit.least_free, fit.cells)
        if even is not None and engine.starts_on(split, _hosts(split, even)):
            cells = even
    return msgspec.structs.replace(fit, chosen=tuple(cells))


def chosen_cells(fit: Fit) -> Sequence[Cell]:
    """The groups that a settled fit takes."""
    if fit.chosen is None:
        msg = f"a fit that is not placed: {fit.split}"
        raise AssertionError(msg)
    return fit.chosen


def _hosts(split: Split, cells: Sequence[Cell]) -> list[Host]:
    """The nodes of one replica, each with the devices it gives in order of rank."""
    held: dict[int, list[int]] = {}
    for at in positions(split):
        node, device = cells[at.stage * split.data + at.data][at.tensor]
        held.setdefault(node, []).append(device)
    return [Host(name=str(node), devices=tuple(devices)) for node, devices in held.items()]


def _cells_of(fit: Fit) -> list[Cell]:
    if fit.shares:
        return _mixed(fit.split, fit.shares)
    if fit.most_a_node:
        return apart_cells(fit.pool, fit.split, fit.least_free, fit.most_a_node)
    return packed_cells(fit.pool, fit.split, fit.least_free)


def _mixed(split: Split, shares: Sequence[Share]) -> list[Cell]:
    """Each replica's groups, those of its stages on one type after those on the other."""
    cells = []
    for share in shares:
        part = msgspec.structs.replace(split, pipeline=share.stages)
        packed = packed_cells(share.pool, part, share.least_free)
        each = share.stages * split.data
        cells.append([packed[start : start + each] for start in range(0, len(packed), each)])
    return [cell for replica in zip(*cells, strict=True) for part in replica for cell in part]


def _planned(
    fit: Fit,
    at: Position,
    *,
    cells: Sequence[Cell],
    nodes: Sequence[Node],
    engine: Engine,
    experts: ExpertFeedForward | None,
    carried: int,
    budgets: Sequence[int],
) -> PlannedRank:
    split = fit.split
    cell = cells[(at.replica * split.pipeline + at.stage) * split.data + at.data]
    node, device = cell[at.tensor]
    larger = experts.experts % split.expert if experts else 0
    load = RankLoad(
        rank=at.rank,
        stage=at.stage,
        sequences=carried,
        extra_expert=at.expert < larger,
        budget_bytes=budgets[at.stage],
    )
    return PlannedRank(
        rank=at.rank,
        node=nodes[node].name,
        device=device,
        stage=at.stage,
        experts=None
        if experts is None
        else _ranges(engine.held_experts(experts, split, at.expert)),
        memory=fit.stages.all[at.stage].rank_memory(load),
    )


def _ranges(held: Sequence[range]) -> str:
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in held)
