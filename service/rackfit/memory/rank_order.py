"""Which rank is where: tensor and context ranks innermost, then stages, data ranks outermost.

vLLM's order (parallel_state.initialize_model_parallel: data x pipeline x tensor); the ranks
of one stage, over all data ranks, are its expert group.
"""

from collections.abc import Iterator

import msgspec

from rackfit.engines.split import Split


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where one rank stands; `expert` is its place among the split's expert ranks.

    `tensor` is its place among the tensor and context ranks of its stage.
    """

    rank: int
    replica: int
    data: int
    stage: int
    tensor: int
    expert: int


def positions(split: Split) -> Iterator[Position]:
    """Yield every rank's position, in order of rank."""
    rank = 0
    for replica in range(split.replicas):
        for data in range(split.data):
            for stage in range(split.pipeline):
                for tensor in range(split.cell):
                    place = data * split.cell + tensor
                    expert = place % split.expert
                    yield Position(rank, replica, data, stage, tensor, expert)
                    rank += 1
