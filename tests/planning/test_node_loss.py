"""Plans that a lost node does not end, and replicas that are kept together or apart."""

from typing import Any

import msgspec
import pytest

from planning.asking import answer, nodes_of, request
from rackfit.catalog import load_catalog

Json = dict[str, Any]
CATALOG = load_catalog()
H100 = "NVIDIA-H100-80GB-HBM3"
DENSE = "Qwen/Qwen3-32B"
ENGINE = {"name": "vllm"}


def asked(nodes: list[Json], **constraints: object) -> Json:
    """A question about a dense model, TP4 unless it says otherwise: two replicas fit a node."""
    return request(
        nodes,
        DENSE,
        engine=ENGINE,
        limit=1,
        constraints={"tensor": 4, "pipeline": 1, **constraints},
    )


def first(question: Json) -> Json:
    """The best plan."""
    plan: Json = answer(CATALOG, question)["plans"][0]
    return plan


def nodes_by_replica(plan: Json) -> list[set[str]]:
    """The nodes each replica has ranks on."""
    each = plan["accelerators"] // plan["split"]["replicas"]
    names = [rank["node"] for rank in plan["ranks"]]
    return [set(names[start : start + each]) for start in range(0, len(names), each)]


def test_one_replica_more_serves_on_if_each_has_a_node_of_its_own() -> None:
    """Where one replica does, a second on another node takes over; none shares a node."""
    plan = first(asked(nodes_of(H100, 2), node_loss="serve"))
    assert (2, 1) == (plan["split"]["replicas"], plan["replicas_lost_with_a_node"])
    assert [{"node-0"}, {"node-1"}] == nodes_by_replica(plan)


def test_replicas_that_must_share_nodes_are_two_more_than_are_needed() -> None:
    """Three must be left of any loss; there are not four nodes, so two fall with one of three."""
    question = asked(nodes_of(H100, 3), node_loss="serve")
    question["workload"] = {"context_tokens": 32_768, "sequences": 1}
    one = first(question)["capacity"]["sequences"] // 2
    question["workload"]["sequences"] = 3 * one
    plan = first(question)
    assert (5, 2) == (plan["split"]["replicas"], plan["replicas_lost_with_a_node"])


def test_a_replica_larger_than_a_node_has_its_nodes_to_itself() -> None:
    """Two replicas of two nodes each share none."""
    plan = first(asked(nodes_of(H100, 5), tensor=8, pipeline=2, node_loss="serve"))
    one, two = nodes_by_replica(plan)
    assert (2, 2, set()) == (len(one), len(two), one & two)


def test_too_few_nodes_to_serve_on_is_told_with_what_would_do() -> None:
    """One node cannot be lost; one more is the nearest fix, and so the shortfall."""
    found = answer(CATALOG, asked(nodes_of(H100, 1), node_loss="serve"))
    (rejection,) = found["rejections"]
    assert "With any one node lost" in rejection["detail"]
    assert ("nodes+1", {H100: 8}) == (
        rejection["nearest_fix"]["change"],
        found["shortfall"]["accelerators"],
    )


def test_who_has_no_other_node_may_give_up_being_prepared() -> None:
    """With a limit on accelerators that a second replica exceeds, one way out is none of it."""
    question = asked(nodes_of(H100, 1), node_loss="serve", max_accelerators=4, replicas=2)
    changes = {r["nearest_fix"]["change"] for r in answer(CATALOG, question)["rejections"]}
    assert any("node_loss=null" in change for change in changes), changes


def test_one_replica_that_must_serve_on_is_a_contradiction() -> None:
    """It is refused with the way out."""
    with pytest.raises(msgspec.ValidationError, match="`replicas` of 2 or more"):
        answer(CATALOG, asked(nodes_of(H100, 2), node_loss="serve", replicas=1))


def test_replanning_keeps_the_room_of_the_largest_node_free() -> None:
    """Two replicas of eight find room after any loss on three nodes, not on two."""
    three = asked(nodes_of(H100, 3), tensor=8, replicas=2, node_loss="replan")
    two = asked(nodes_of(H100, 2), tensor=8, replicas=2, node_loss="replan")
    assert answer(CATALOG, three)["feasible"]
    (rejection,) = answer(CATALOG, two)["rejections"]
    assert (1, 2) == tuple(rejection["numbers"][f"groups_{n}"] for n in ("available", "needed"))


def test_spread_puts_replicas_on_different_nodes_and_pack_on_one() -> None:
    """Two replicas of half a node."""
    nodes = nodes_of(H100, 2)
    spread = first(asked(nodes, replicas=2, placement="spread"))
    packed = first(asked(nodes, replicas=2, placement="pack"))
    assert ([{"node-0"}, {"node-1"}], 1) == (
        nodes_by_replica(spread),
        spread["replicas_lost_with_a_node"],
    )
    assert [{"node-0"}, {"node-0"}] == nodes_by_replica(packed)


def test_spread_takes_racks_by_turns() -> None:
    """Two replicas go to different racks, though two nodes of one rack come first."""
    nodes = nodes_of(H100, 4)
    for number, node in enumerate(nodes):
        node["rack"] = "ab"[number // 2]
    plan = first(asked(nodes, replicas=2, placement="spread"))
    assert [{"node-0"}, {"node-2"}] == nodes_by_replica(plan)


def test_a_replica_over_several_nodes_stays_in_a_rack_and_on_a_fabric() -> None:
    """Of nodes whose racks alternate, those of one are taken; so with fabrics."""
    for label in ("rack", "fabric"):
        nodes = nodes_of(H100, 6)
        for number, node in enumerate(nodes):
            node[label] = "abc"[number % 3]
        plan = first(asked(nodes, tensor=8, pipeline=2, replicas=3))
        assert 3 == len(nodes_by_replica(plan))
        for names in nodes_by_replica(plan):
            assert 1 == len({n[label] for n in nodes if n["name"] in names}), label


def test_a_replica_that_fits_a_domain_is_not_divided_over_two() -> None:
    """Two replicas of 6 on nodes of 8: each on its own, not one on what the other leaves."""
    question = asked(nodes_of(H100, 2), tensor=2, pipeline=3, replicas=2)
    assert [{"node-0"}, {"node-1"}] == nodes_by_replica(first(question))


def test_without_room_for_whole_replicas_they_are_divided() -> None:
    """Four replicas of 3 on nodes of 8 and 4: one of them has ranks on both."""
    nodes = [*nodes_of(H100, 1), *nodes_of(H100, 1, 4, prefix="small")]
    plan = first(asked(nodes, tensor=1, pipeline=3, replicas=4))
    assert sorted(len(names) for names in nodes_by_replica(plan)) == [1, 1, 1, 2]
