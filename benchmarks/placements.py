"""Expert placement beside EPLB: how balanced, how near what is proved, and how fast.

Run as a module it prints a table of the whole suite for some seeds, as docs/expert-placement.md
has it. The time is the processor's, without decoding and encoding; the proof's is apart.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks import eplb
from benchmarks.expert_loads import SUITE, Case, drifted, loads
from rackfit.balancing.answer import PRICE, layer_balance, problem_of, proved
from rackfit.balancing.packing import shared_replicas
from rackfit.balancing.place import place
from rackfit.balancing.question import PlacementRequest
from rackfit.balancing.warm import choose, paths

ROUNDS = 5
TIMED: Mapping[str, str] = {
    "place-9-slots": "lognormal 0.5, 288 / 32",
    "place-5-slots": "lognormal 0.5, 320 / 64",
    "place-4-slots": "zipf 0.5, 288 / 72",
    "place-3-slots": "zipf 0.5, 384 experts, 432 / 144",
    "place-2-slots": "lognormal 0.5, 288 / 144",
}
"""What `python -m benchmarks` times, by slots on a rank."""

Work = Callable[[], object]


class Row(NamedTuple):
    """What came of one of the suite: balancedness of both, and times as ratios to EPLB's."""

    eplb: float
    mean: float
    worst: float
    bound: float
    shared: float
    shared_by_eplb: float
    below: int
    ratio: float
    proof: float
    drifted: float
    moved: float


def request_of(case: Case, load: eplb.Floats) -> PlacementRequest:
    """Ask for a case to be placed."""
    return PlacementRequest(
        loads=load.tolist(),
        ranks=case.to.ranks,
        slots=case.to.slots,
        nodes=case.to.nodes,
        groups=case.to.groups,
        hierarchical=case.to.nodes > 1,
    )


def works(name: str) -> Mapping[str, Work]:
    """Return what is timed: a placement and, as its unit, EPLB's."""
    case = SUITE[TIMED[name]]
    load = loads(case, 0)
    problem = problem_of(request_of(case, load))
    return {
        name: lambda: place(problem, _never),
        f"{name}/eplb": lambda: eplb.rebalance(load, case.to),
    }


def measure(case: Case, seed: int) -> Row:
    """Place one of the suite and drift it."""
    load = loads(case, seed)
    problem = problem_of(request_of(case, load))
    reference = eplb.rebalance(load, case.to).expert
    floor = eplb.balancedness(load, reference, case.to.ranks)
    placed = place(problem, _never)
    unit, taken = _least(lambda: eplb.rebalance(load, case.to), lambda: place(problem, _never))
    started = time.process_time()
    followed, bound = proved(problem, placed, _never, prove=True)
    proof = time.process_time() - started
    ours = layer_balance(problem, followed)
    later = problem_of(request_of(case, drifted(load, seed + 1000)))
    stops = choose(paths(later, followed, place(later, _never), _never), PRICE, None, case.to.slots)
    return Row(
        eplb=float(floor.mean()),
        mean=float(ours.mean()),
        worst=float(ours.min()),
        bound=float(bound.mean()),
        shared=float(shared_replicas(followed).mean()),
        shared_by_eplb=float(shared_replicas(reference.reshape(placed.shape)).mean()),
        below=int((ours < floor * (1 - 1e-9)).sum()),
        ratio=taken / unit,
        proof=proof / unit,
        drifted=statistics.fmean(stop.balance for stop in stops),
        moved=sum(stop.moved for stop in stops) / reference.size,
    )


def _least(*works: Work) -> list[float]:
    """Return the least time of each, taken by turns."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, times in zip(works, taken, strict=True):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
    return [min(times) for times in taken]


def _never() -> bool:
    return False


def main() -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placements")
    parser.add_argument("seeds", nargs="*", type=int, default=[0])
    for seed in parser.parse_args().seeds:
        for name, case in SUITE.items():
            row = measure(case, seed)
            figures = " | ".join(
                str(value) if isinstance(value, int) else f"{value:.4f}" for value in row
            )
            sys.stdout.write(f"| {name} | {seed} | {figures} |\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
