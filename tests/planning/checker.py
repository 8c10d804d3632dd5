"""Checks a plan against its request from first principles, with none of the planner's code.

Everything is read from the two JSON documents; each check says what it found wrong.
"""

from collections import Counter, defaultdict
from typing import Any

Json = dict[str, Any]


def faults(request: Json, plan: Json, *, usable_bytes: dict[str, int], experts: int) -> list[str]:
    """List what is wrong with `plan`, nothing if all is well.

    Args:
        request: the plan request.
        plan: one of the answer's plans.
        usable_bytes: memory an engine sees, by node name.
        experts: routed experts of the model, 0 for a dense one.
    """
    nodes = {node["name"]: node for node in request["inventory"]["nodes"]}
    return [
        *_degree_faults(plan),
        *_device_faults(plan, nodes),
        *_memory_faults(plan, nodes, usable_bytes),
        *_domain_faults(plan, nodes),
        *_expert_faults(request, plan, experts),
        *_constraint_faults(request, plan),
        *_time_faults(request, plan),
        *_reservation_faults(request, plan, usable_bytes),
        *_loss_faults(request, plan),
    ]


def pair_faults(request: Json, pair: Json) -> list[str]:
    """List what is wrong with both sides of a pair together, commands included."""
    sides = [pair["prefill"], pair["decode"]]
    nodes = {node["name"]: node for node in request["inventory"]["nodes"]}
    commands = [command for side in sides for command in side["launch"]["commands"]]
    shown = Counter((c["node"], device) for c in commands for device in c["devices"])
    ranks = [rank for side in sides for rank in side["ranks"]]
    found = _device_faults({"ranks": ranks}, nodes)
    found += [f"{count} processes are shown {place}" for place, count in shown.items() if count > 1]
    if len(ranks) != pair["accelerators"]:
        found.append(f"{len(ranks)} ranks on {pair['accelerators']} accelerators")
    most = request.get("constraints", {}).get("max_accelerators", len(ranks))
    return [*found, *([f"{len(ranks)} of {most} devices"] if len(ranks) > most else [])]


def _degree_faults(plan: Json) -> list[str]:
    split, ranks = plan["split"], plan["ranks"]
    devices = split["tensor"] * split["pipeline"] * split["data"] * split["context"]
    devices *= split["replicas"]
    found = []
    stage = split["tensor"] * split["data"] * split["context"]
    if split["expert"] * split["expert_tensor"] != stage:
        found.append(f"experts are not divided over all {stage} ranks of a stage")
    if not devices == plan["accelerators"] == len(ranks):
        found.append(f"{devices} devices, {plan['accelerators']} told, {len(ranks)} ranks")
    if [rank["rank"] for rank in ranks] != list(range(len(ranks))):
        found.append("ranks are not numbered from 0")
    if list(dict.fromkeys(rank["node"] for rank in ranks)) != plan["nodes"]:
        found.append("nodes are not those of the ranks")
    return found


def _device_faults(plan: Json, nodes: dict[str, Json]) -> list[str]:
    used = Counter((rank["node"], rank["device"]) for rank in plan["ranks"])
    shared = [f"{place} holds {count} ranks" for place, count in used.items() if count > 1]
    missing = [
        f"{name} has no device {device}"
        for name, device in used
        if not 0 <= device < nodes[name]["count"]
    ]
    return shared + missing


def _memory_faults(plan: Json, nodes: dict[str, Json], usable_bytes: dict[str, int]) -> list[str]:
    found = []
    headrooms = []
    for rank in plan["ranks"]:
        memory = rank["memory"]
        parts = ("weights_bytes", "kv_cache_bytes", "activation_bytes", "overhead_bytes")
        if sum(memory[part] for part in parts) != memory["total_bytes"]:
            found.append(f"rank {rank['rank']}: parts do not sum to the total")
        free = nodes[rank["node"]].get("free_bytes")
        room = usable_bytes[rank["node"]]
        room = room if free is None else min(room, free[rank["device"]])
        if not memory["total_bytes"] <= memory["budget_bytes"] <= room:
            found.append(f"rank {rank['rank']}: {memory} in {room}")
        headrooms.append(memory["budget_bytes"] - memory["total_bytes"])
    if plan["headroom_bytes"] != min(headrooms):
        found.append(f"headroom {plan['headroom_bytes']} but {min(headrooms)}")
    return found


def _domain_faults(plan: Json, nodes: dict[str, Json]) -> list[str]:
    tensor = plan["split"]["tensor"] * plan["split"]["context"]
    ranks = plan["ranks"]
    found = []
    for start in range(0, len(ranks), tensor):
        group = ranks[start : start + tensor]
        domains = {nodes[r["node"]].get("domain") or r["node"] for r in group}
        types = {str(nodes[r["node"]]["accelerator"]) for r in group}
        if len(domains) > 1 or len(types) > 1 or len({r["stage"] for r in group}) > 1:
            found.append(f"tensor group at rank {start} leaves its domain: {domains}")
    return found


def _expert_faults(request: Json, plan: Json, experts: int) -> list[str]:
    """Each replica and stage holds every expert once a tensor part, and redundant ones beside."""
    split, engine = plan["split"], request.get("engine", {})
    redundant = engine.get("redundant_experts", 0) if split["expert"] > 1 else 0
    held: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    replica_ranks = plan["accelerators"] // split["replicas"]
    for rank in plan["ranks"]:
        group = (rank["rank"] // replica_ranks, rank["stage"])
        if not experts:
            if rank["experts"] is not None:
                return ["a dense model has experts"]
            continue
        held[group].update(_expanded(rank["experts"]))
    wanted = dict.fromkeys(range(experts), split["expert_tensor"])
    stages = split["replicas"] * split["pipeline"] if experts else 0
    wrong = [
        f"replica and stage {group}: {c}"
        for group, c in held.items()
        if any(c[expert] < parts for expert, parts in wanted.items())
        or c.total() != (experts + redundant) * split["expert_tensor"]
    ]
    return wrong + ([f"{len(held)} expert groups"] if len(held) != stages else [])


def _expanded(ranges: str) -> list[int]:
    numbers: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _constraint_faults(request: Json, plan: Json) -> list[str]:
    wanted = request.get("constraints", {})
    degrees = ("tensor", "pipeline", "data", "expert", "replicas")
    found = [
        f"{name} is {plan['split'][name]}, {wanted[name]} was asked for"
        for name in degrees
        if name in wanted and plan["split"][name] != wanted[name]
    ]
    if plan["accelerators"] > wanted.get("max_accelerators", plan["accelerators"]):
        found.append("more accelerators than allowed")
    split, sequences = plan["split"], request["workload"].get("sequences", 1)
    if plan["capacity"]["sequences"] < sequences:
        found.append(f"capacity {plan['capacity']} below {sequences} sequences on {split}")
    return found


def _time_faults(request: Json, plan: Json) -> list[str]:
    wanted = request.get("constraints", {})
    return [
        f"{what} is {plan['performance'][what]}, at most {wanted[f'max_{what}']} was asked for"
        for what in ("seconds_to_first_token", "seconds_per_output_token")
        if f"max_{what}" in wanted and plan["performance"][what] > wanted[f"max_{what}"]
    ]


def _reservation_faults(request: Json, plan: Json, usable_bytes: dict[str, int]) -> list[str]:
    """Spares are nodes nothing runs on, devices are left over, and so are bytes of those used."""
    reserved = request.get("constraints", {}).get("reserved", {})
    nodes = {node["name"]: node for node in request["inventory"]["nodes"]}
    types = {str(nodes[name]["accelerator"]) for name in plan["nodes"]}
    idle = [
        name
        for name, node in nodes.items()
        if str(node["accelerator"]) in types
        and name not in plan["nodes"]
        and all(f >= usable_bytes[name] for f in node.get("free_bytes", []))
    ]
    found = [f"{len(idle)} spare nodes"] if len(idle) < reserved.get("nodes", 0) else []
    used = Counter(rank["node"] for rank in plan["ranks"])
    spared = reserved.get("devices_per_node", 0)
    found += [f"{n} of {name}'s" for name, n in used.items() if n > nodes[name]["count"] - spared]
    kept = reserved.get("bytes_per_device", 0)
    for rank in plan["ranks"]:
        name, device = rank["node"], rank["device"]
        free = nodes[name].get("free_bytes", [usable_bytes[name]] * nodes[name]["count"])[device]
        if rank["memory"]["total_bytes"] > min(free, usable_bytes[name]) - kept:
            found.append(f"rank {rank['rank']} takes of what is reserved")
    return found


def _loss_faults(request: Json, plan: Json) -> list[str]:
    """Replicas that share a node fall with it; those left hold all sequences, if so asked."""
    each = plan["accelerators"] // plan["split"]["replicas"]
    on = defaultdict(set)
    for rank in plan["ranks"]:
        on[rank["node"]].add(rank["rank"] // each)
    most = max(len(replicas) for replicas in on.values())
    told = plan["replicas_lost_with_a_node"]
    found = [f"{most} replicas share a node, {told} were told"] if most > (told or most) else []
    if request.get("constraints", {}).get("node_loss") != "serve":
        return found
    held = plan["capacity"]["sequences"] // plan["split"]["replicas"]
    left = (plan["split"]["replicas"] - most) * held
    sequences = request["workload"].get("sequences", 1)
    return [*found, *([f"{left} of {sequences} are left"] if left < sequences else [])]
