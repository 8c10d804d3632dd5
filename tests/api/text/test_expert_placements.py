"""Expert placements as text."""

from rackfit.api.text.expert_placements import placement_answer
from rackfit.balancing.question import Balance, PlacedLayer, PlacementAnswer

LAYER = PlacedLayer(
    slot_to_expert=(0, 1, 0, 2),
    expert_to_slots=((0, 2), (1,), (3,)),
    balancedness=0.95,
    upper_bound=0.96,
    shared=0,
)
ANSWER = PlacementAnswer(
    layers=(LAYER,),
    ranks=2,
    slots=4,
    balancedness=Balance(mean=0.95, worst=0.95),
    upper_bound=Balance(mean=0.96, worst=0.96),
    gap=0.0104,
    shared=0,
    complete=False,
    moved_slots=3,
    moved_bytes=3 << 30,
)


def test_the_verdict_comes_first_and_then_the_layers() -> None:
    """How even, how even it could be, what moves; the hottest expert of each layer."""
    expected = [
        "BALANCED 0.9500: 1 layer, 4 slots on 2 ranks; then the time was up",
        "",
        "Mean and worst layer  0.9500, 0.9500",
        "No placement exceeds  0.9600, 0.9600",
        "To move               3 slots, 3.0 GiB",
        "",
        "LAYER  BALANCED  AT MOST  REPLICATED  MOST REPLICAS  SHARED",
        "    0    0.9500   0.9600           1  expert 0 x2         0",
    ]
    assert expected == placement_answer(ANSWER).splitlines()
