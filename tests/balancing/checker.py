"""Checks a placement against its request from first principles, with none of the balancer's code.

Everything is read from the two JSON documents, in fractions where that decides; each check says
what it found wrong.
"""

from collections import Counter
from typing import Any

import pytest

Json = dict[str, Any]


def faults(request: Json, answer: Json) -> list[str]:
    """List what is wrong with an answer, nothing if all is well."""
    windows = request.get("windows") or [request["loads"]]
    experts = len(windows[0][0])
    slots = request.get("slots") or experts + request["redundant_experts"]
    found = [] if len(answer["layers"]) == len(windows[0]) else ["another number of layers"]
    for number, layer in enumerate(answer["layers"]):
        loads = [window[number] for window in windows]
        told = _layer_faults(request, layer, loads, slots)
        found += [f"layer {number}: {fault}" for fault in told]
    return [*found, *_summary_faults(answer), *_move_faults(request, answer)]


def _layer_faults(request: Json, layer: Json, loads: list[list[float]], slots: int) -> list[str]:
    held = layer["slot_to_expert"]
    experts = range(len(loads[0]))
    where = [[slot for slot, expert in enumerate(held) if expert == own] for own in experts]
    found = []
    if len(held) != slots or set(held) != set(experts):
        found.append(f"{len(held)} slots with {len(set(held))} experts")
    if layer["expert_to_slots"] != where:
        found.append("the two maps differ")
    balance = min(_balancedness(request, held, window) for window in loads)
    if layer["balancedness"] != pytest.approx(balance, rel=1e-9):
        found.append(f"balancedness {layer['balancedness']}, in truth {balance}")
    if not layer["balancedness"] <= layer["upper_bound"] <= 1 + 1e-9:
        found.append(f"bound {layer['upper_bound']} below {layer['balancedness']}")
    shared = sum(len(rank) - len(set(rank)) for rank in ranks_of(held, request["ranks"]))
    if layer["shared"] != shared:
        found.append(f"{layer['shared']} shared, in truth {shared}")
    if request.get("hierarchical"):
        found += _group_faults(request, held, len(loads[0]))
    return found


def ranks_of(held: list[int], ranks: int) -> list[list[int]]:
    """Cut a layer's slots into ranks."""
    each = len(held) // ranks
    return [held[rank * each : (rank + 1) * each] for rank in range(ranks)]


def _balancedness(request: Json, held: list[int], loads: list[float]) -> float:
    replicas = Counter(held)
    ranks = ranks_of(held, request["ranks"])
    speeds = request.get("speeds") or [1.0] * len(ranks)
    times = [
        sum(loads[expert] / replicas[expert] for expert in rank) / speed
        for rank, speed in zip(ranks, speeds, strict=True)
    ]
    return sum(times) / len(times) / max(times) if max(times) > 0 else 1.0


def _group_faults(request: Json, held: list[int], experts: int) -> list[str]:
    nodes, groups = request["nodes"], request["groups"]
    each = len(held) // nodes
    homes: dict[int, set[int]] = {}
    for slot, expert in enumerate(held):
        homes.setdefault(expert * groups // experts, set()).add(slot // each)
    return [f"group {group} on nodes {on}" for group, on in homes.items() if len(on) > 1]


def _summary_faults(answer: Json) -> list[str]:
    found = []
    for name in ("balancedness", "upper_bound"):
        layers = [layer[name] for layer in answer["layers"]]
        expected = {"mean": sum(layers) / len(layers), "worst": min(layers)}
        if answer[name] != pytest.approx(expected):
            found.append(f"{name} {answer[name]}, in truth {expected}")
    if answer["shared"] != sum(layer["shared"] for layer in answer["layers"]):
        found.append("shared replicas do not sum up")
    return found


def _move_faults(request: Json, answer: Json) -> list[str]:
    if "current" not in request:
        return ["moved slots without a current placement"] if "moved_slots" in answer else []
    moved = sum(
        (Counter(new) - Counter(old)).total()
        for before, layer in zip(request["current"], answer["layers"], strict=True)
        for old, new in zip(
            ranks_of(before, request["ranks"]),
            ranks_of(layer["slot_to_expert"], request["ranks"]),
            strict=True,
        )
    )
    found = [] if answer["moved_slots"] == moved else [f"{answer['moved_slots']}, in truth {moved}"]
    if "expert_bytes" in request and answer["moved_bytes"] != moved * request["expert_bytes"]:
        found.append("moved bytes are not those of the moved slots")
    return found
