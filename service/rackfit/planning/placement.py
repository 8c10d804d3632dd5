"""Which rank on which device: tensor groups inside a scale-up domain, stages kept together.

Groups of one stage over all its data ranks (its expert group) are laid next to each other,
so that they share a node or a domain where they fit.
"""

from collections.abc import Sequence
from itertools import chain, islice

import msgspec

from rackfit.architecture.model import ExpertFeedForward
from rackfit.engines.split import Split
from rackfit.inventory.model import Node
from rackfit.memory.rank_order import Position, held_experts, positions
from rackfit.memory.stages import RankLoad, sequences_per_rank
from rackfit.planning.outcomes import Fit
from rackfit.planning.pools import Domain, DomainGroup, Pool
from rackfit.planning.question import PlannedRank

Device = tuple[int, int]
"""A node's place in the inventory and the device's number on it."""

Cell = tuple[Device, ...]
"""The devices of one tensor group."""

MAX_LISTED = 4096
"""Ranks listed a plan; a million of them would be an answer of hundreds of megabytes."""


def choose_cells(pool: Pool, size: int, least_free: int, needed: int) -> list[Cell]:
    """Take `needed` groups of `size` devices from as few domains as possible.

    Largest domains first; once one domain holds all that is missing, the smallest such.
    """
    offers = _offers(pool, size, least_free, needed)
    chosen: list[Cell] = []
    for place, (room, group, domain) in enumerate(offers):
        missing = needed - len(chosen)
        if room < missing:
            chosen += _cells_in(group, domain, size, least_free)
            continue
        enough = [offer for offer in offers[place:] if offer[0] >= missing]
        _, last_group, last = min(enough, key=lambda offer: offer[0])
        return chosen + _cells_in(last_group, last, size, least_free)[:missing]
    return chosen


def spread_cells(pool: Pool, size: int, least_free: int, needed: int) -> list[Cell] | None:
    """Take `needed` groups from as few domains as possible, as many from each.

    None where that many domains do not have the same room. Launchers of several nodes want it so.
    """
    offers = _offers(pool, size, least_free, needed)
    for domains in range(1, len(offers) + 1):
        each, more = divmod(needed, domains)
        if more or offers[domains - 1][0] < each:
            continue
        return [
            cell
            for _, group, domain in offers[:domains]
            for cell in _cells_in(group, domain, size, least_free)[:each]
        ]
    return None


def _offers(
    pool: Pool, size: int, least_free: int, needed: int
) -> list[tuple[int, DomainGroup, Domain]]:
    """Room, group and domain of every domain worth looking at, most room first."""
    rooms = [(group.devices(least_free) // size, group) for group in pool.groups]
    rooms = sorted((pair for pair in rooms if pair[0]), key=lambda pair: -pair[0])
    return [
        (room, group, domain)
        for room, group in rooms
        for domain in group.domains[: -(-needed // room)]
    ]


def _cells_in(group: DomainGroup, domain: Domain, size: int, least_free: int) -> list[Cell]:
    """Groups of devices of one domain: whole on a node as long as nodes have room for one."""
    whole: list[Cell] = []
    rest: list[Device] = []
    for node, free in zip(domain.nodes, group.shape, strict=True):
        devices = [(node, d) for d, bytes_free in enumerate(free) if bytes_free >= least_free]
        fitting = len(devices) // size * size
        whole += _sliced(devices[:fitting], size)
        rest += devices[fitting:]
    return whole + _sliced(rest[: len(rest) // size * size], size)


def _sliced(devices: Sequence[Device], size: int) -> list[Cell]:
    return [tuple(devices[start : start + size]) for start in range(0, len(devices), size)]


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
    experts: ExpertFeedForward | None,
    sequences: int,
    *,
    chosen: Sequence[Cell] | None = None,
) -> Placement:
    """Put the ranks of a fitting split on devices, `sequences` over the deployment.

    Replicas are alike: beyond `MAX_LISTED` ranks only the first are listed. `chosen` groups are
    taken instead of those that leave fewest domains in use.
    """
    split = fit.split
    cells = chosen or choose_cells(fit.pool, split.tensor, fit.least_free, fit.cells)
    listed = min(split.replicas, max(MAX_LISTED // split.devices_per_replica, 1))
    carried = sequences_per_rank(split, sequences)
    budgets = fit.stages.each(fit.budgets)
    ranks = tuple(
        _planned(
            fit, at, cells=cells, nodes=nodes, experts=experts, carried=carried, budgets=budgets
        )
        for at in islice(positions(split), listed * split.devices_per_replica)
    )
    used = (nodes[node].name for cell in cells for node, _ in cell)
    return Placement(tuple(dict.fromkeys(chain((r.node for r in ranks), used))), ranks, listed)


def _planned(
    fit: Fit,
    at: Position,
    *,
    cells: Sequence[Cell],
    nodes: Sequence[Node],
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
        experts=expert_ranges(experts, split, at.expert),
        memory=fit.stages.all[at.stage].rank_memory(load),
    )


def expert_ranges(experts: ExpertFeedForward | None, split: Split, place: int) -> str | None:
    """The experts of one expert rank as a range list; None for a dense model."""
    if experts is None:
        return None
    first, count = held_experts(experts.experts, split.expert, place)
    return f"{first}-{first + count - 1}" if count > 1 else str(first)
