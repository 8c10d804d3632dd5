"""Manifests held to the schemas that clusters hold them to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import yaml

Json = dict[str, Any]

SCHEMA = json.loads((Path(__file__).parent / "data/leader_worker_set.json").read_text())
CLUSTERS = ("1.27", "1.37")
"""The oldest cluster that LeaderWorkerSets are used on here, and the newest with a schema."""

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
"""RFC 1035, as names of Services are."""

LONGEST_LABEL = 63
HASH = "-0123456789"
"""What a StatefulSet's name has behind it in its pods' label controller-revision-hash."""


def check(manifest: Json) -> None:
    """Hold one object, or each of a List, to its schema, and its names to what they are for."""
    assert manifest == yaml.safe_load(yaml.safe_dump(manifest))
    for one in manifest["items"] if manifest["kind"] == "List" else (manifest,):
        assert LABEL.match(one["metadata"]["name"])
        if one["kind"] == "LeaderWorkerSet":
            jsonschema_rs.validate(SCHEMA, one)
            assert all(len(name) <= LONGEST_LABEL for name in _labels(one))
            for template in pods(one):
                _check_native({"apiVersion": "v1", "kind": "PodTemplate", "template": template})
        else:
            _check_native(one)
            assert len(one["metadata"]["name"]) <= LONGEST_LABEL


def _check_native(one: Json) -> None:
    for cluster in CLUSTERS:
        kubernetes_validate.validate(one, cluster, strict=True)


def _labels(lws: Json) -> Iterator[str]:
    """Values of labels that the controllers give the last pod of the last replica."""
    name, spec = lws["metadata"]["name"], lws["spec"]
    replica = f"{name}-{spec['replicas'] - 1}"
    yield from (name, f"{name}{HASH}", f"{replica}{HASH}")
    yield f"{replica}-{spec['leaderWorkerTemplate']['size'] - 1}"


def pods(lws: Json) -> tuple[Json, Json]:
    """The leader's template and the workers'."""
    templates = lws["spec"]["leaderWorkerTemplate"]
    return templates["leaderTemplate"], templates["workerTemplate"]


def script(template: Json) -> str:
    """What a pod's one container runs in bash."""
    [container] = template["spec"]["containers"]
    *shell, text = container["command"]
    assert shell == ["bash", "-c"]
    return str(text)


def variables(template: Json) -> dict[str, str | None]:
    """A container's environment; None for what the cluster puts in."""
    [container] = template["spec"]["containers"]
    return {one["name"]: one.get("value") for one in container.get("env", ())}
