"""Plans as text."""

from typing import Any

import msgspec
import pytest

from rackfit.api.text.plans import plan_answer
from rackfit.engines.rejection import Fix, Rejection
from rackfit.engines.split import Split
from rackfit.memory.question import Capacity, RankMemory
from rackfit.planning.launches import Launch, NodeCommand
from rackfit.planning.question import Plan, PlanAnswer, PlannedRank, Shortfall

GIB = 1 << 30


def rank(number: int, node: str, experts: str) -> PlannedRank:
    """Return a rank of 100 GiB, on the device of its number among the node's four."""
    memory = RankMemory(
        rank=number,
        stage=0,
        weights_bytes=100 * GIB,
        kv_cache_bytes=0,
        activation_bytes=0,
        overhead_bytes=0,
        total_bytes=100 * GIB,
        kv_cache_bytes_per_token=0,
        budget_bytes=125 * GIB,
    )
    return PlannedRank(
        rank=number, node=node, device=number % 4, stage=0, experts=experts, memory=memory
    )


def answer(
    *plans: Plan,
    complete: bool = True,
    rejections: tuple[Rejection, ...] = (),
    shortfall: Shortfall | None = None,
) -> PlanAnswer:
    """Return the answer of a search that tried 95 splits."""
    return PlanAnswer(
        feasible=bool(plans),
        complete=complete,
        plans=plans,
        disaggregated=(),
        rejections=rejections,
        rejections_total=len(rejections),
        splits_evaluated=95,
        shortfall=shortfall,
        warnings=(),
    )


LAUNCH: dict[str, Any] = {
    "engine": "vllm",
    "gpu_memory_utilization": 0.9,
    "arguments": ("--tp=4", "--dp=2"),
}
PLAN = Plan(
    split=Split(tensor=4, data=2, expert=8),
    accelerator="NVIDIA-H200",
    accelerators=8,
    nodes=("a", "b"),
    replicas_listed=1,
    replicas_lost_with_a_node=None,
    expert_balancedness=None,
    layers_by_stage=None,
    mixed=None,
    ranks=tuple(rank(n, "ab"[n // 4], "0-7" if n < 6 else "8-15") for n in range(8)),
    headroom_bytes=25 * GIB,
    capacity=Capacity(kv_cache_bytes=25 * GIB, kv_cache_tokens=1_000, sequences=3),
    performance=None,
    launch=Launch(**LAUNCH),
)
SHORT = Shortfall(bytes=240 * GIB, accelerators={"NVIDIA-H200": 8, "NVIDIA-B200": 4})


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(PLAN), "FEASIBLE: TP4 DP2 EP8 on 8 x NVIDIA-H200 (95 splits tried)"),
        (
            answer(complete=False),
            "UNDECIDED: no plan so far (95 splits tried, then the time was up)",
        ),
        (
            answer(shortfall=Shortfall(bytes=GIB, accelerators={})),
            "NOT FEASIBLE: the nearest split lacks 1.0 GiB; no number of these would do (95",
        ),
        (
            answer(shortfall=Shortfall(bytes=0, accelerators={"NVIDIA-H200": 1_000})),
            "NOT FEASIBLE: 1,000 more NVIDIA-H200 would do (95 splits tried)",
        ),
        (answer(), "NOT FEASIBLE: no split fits (95 splits tried)"),
    ],
)
def test_the_first_line_is_the_verdict(given: PlanAnswer, verdict: str) -> None:
    """Feasible or not, on what, and how much was tried."""
    assert verdict == plan_answer(given).splitlines()[0]


def test_a_shortfall_names_what_would_do() -> None:
    """Bytes of the nearest miss, and each type on its own."""
    lines = plan_answer(answer(shortfall=SHORT)).splitlines()
    expected = [
        "NOT FEASIBLE: the nearest split lacks 240.0 GiB; 8 more NVIDIA-H200 or 4 more",
        "  NVIDIA-B200 would do (95 splits tried)",
    ]
    assert expected == lines[:2]


def test_devices_of_a_node_that_carry_the_same_share_a_line() -> None:
    """Node, devices, stage, experts, what each takes and may take."""
    text = plan_answer(answer(PLAN))
    expected = [
        "NODE  DEVICES  STAGE  EXPERTS  GiB EACH  BUDGET",
        "a     0-3          0  0-7         100.0   125.0",
        "b     0-1          0  0-7         100.0   125.0",
        "b     2-3          0  8-15        100.0   125.0",
    ]
    assert "\n".join(expected) in text


def test_replicas_that_are_not_listed_are_said() -> None:
    """A plan of many thousand ranks lists the first of them."""
    many = msgspec.structs.replace(PLAN, split=Split(tensor=4, data=2, expert=8, replicas=3_000))
    said = "The ranks of the first 1 of 3,000 replicas are listed."
    assert said in plan_answer(answer(many))
    assert said not in plan_answer(answer(PLAN))


def test_arguments_stand_one_below_the_other() -> None:
    """As they are pasted."""
    assert "Arguments of vllm, the same on every node\n  --tp=4\n  --dp=2\n" in plan_answer(
        answer(PLAN)
    )


def test_commands_name_their_nodes() -> None:
    """Or the reason why there are none."""
    command = NodeCommand(replica=0, node="a", devices=(0,), command="X=0 vllm serve m")
    for launch, said in (
        ({"commands": (command,)}, "Commands\n  a: X=0 vllm serve m\n"),
        ({"no_commands": "No engine."}, "Commands\n  No engine.\n"),
    ):
        started = msgspec.structs.replace(PLAN, launch=Launch(**LAUNCH, **launch))
        assert said in plan_answer(answer(started))


def test_splits_refused_for_the_same_figures_share_their_lines() -> None:
    """Splits that differ in nothing the reason looks at are named together."""
    refused = [
        Rejection(split=Split(tensor=8, expert=expert), code="memory-exceeded", detail="Full.")
        for expert in (8, 4)
    ]
    lines = plan_answer(answer(rejections=tuple(refused))).splitlines()
    assert ["  TP8 EP8, TP8 EP4: memory-exceeded", "    Full."] == lines[-2:]


def test_a_single_split_tried_is_no_plural() -> None:
    """The verdict counts as people do."""
    once = msgspec.structs.replace(answer(PLAN), splits_evaluated=1)
    assert plan_answer(once).splitlines()[0].endswith("(1 split tried)")


def test_splits_refused_alike_are_counted() -> None:
    """A rejection that stands for many says for how many, and the title counts them all."""
    refused = Rejection(split=Split(tensor=3), code="constraint", detail="No.", alike=12)
    lines = plan_answer(answer(rejections=(refused,))).splitlines()
    assert "  TP3 and 11 more: constraint" in lines
    assert any(line.startswith("Why not, 12 of ") for line in lines)


def test_a_rejection_has_its_code_its_numbers_and_the_nearest_fix() -> None:
    """What was tried, why not, in figures, and what would do."""
    rejection = Rejection(
        split=Split(tensor=3),
        code="heads-not-divisible",
        detail="64 attention heads cannot be divided evenly over TP3.",
        numbers={"heads": 64, "tensor": 3},
        accelerator="NVIDIA-H200",
        nearest_fix=Fix("tensor=4", "TP4 instead of TP3 is legal.", verified=True),
    )
    expected = [
        "Why not, 1 of 1 rejected splits",
        "  TP3 on NVIDIA-H200: heads-not-divisible",
        "    64 attention heads cannot be divided evenly over TP3.",
        "    (heads 64, tensor 3)",
        "    nearest fix, tried and fits: tensor=4. TP4 instead of TP3 is legal.",
    ]
    assert expected == plan_answer(answer(rejections=(rejection,))).splitlines()[2:]
