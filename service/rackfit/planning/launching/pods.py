"""Pods of an engine on a plan's nodes, and names that Kubernetes takes for what holds them.

Source: Kubernetes API, Pod v1; documentation: Object Names and IDs, Define Dependent Environment
Variables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rackfit.planning.launching.sbatch import job_name

Json = dict[str, Any]

LONGEST = 47
"""Characters of a name that a StatefulSet's own are made of by a dash and a replica's number.

A label of its pods has a dash and ten more of a hash behind that, and 63 are allowed.
"""

POD_ADDRESS = "$(POD_IP)"
"""A pod's own address in the value of a variable, where Kubernetes puts it in."""

RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "habana.ai/gaudi"}
SHARED_MEMORY = {"name": "shared-memory", "emptyDir": {"medium": "Memory"}}


def object_name(model: str, part: str = "") -> str:
    """A name for one part of what serves a model.

    Services are named after what they lead to, so it is lower case letters, digits and dashes from
    a letter on (RFC 1035).
    """
    end = f"-{part}" if part else ""
    plain = "".join(c if c.isalnum() else "-" for c in job_name(model).lower())
    led = plain if plain[0].isalpha() else f"model-{plain}"
    return led[: LONGEST - len(end)].rstrip("-") + end


def engine_pod(
    script: str,
    *,
    image: str,
    vendor: str,
    devices: int,
    nodes: Sequence[str],
    variables: Mapping[str, str],
) -> Json:
    """Return the template of pods that run a script with so many devices, on these nodes only."""
    container = {
        "name": "engine",
        "image": image,
        "command": ["bash", "-c", script],
        "resources": {"limits": {RESOURCES.get(vendor, RESOURCES["nvidia"]): devices}},
        **({"env": _environment(variables)} if variables else {}),
        "volumeMounts": [{"name": SHARED_MEMORY["name"], "mountPath": "/dev/shm"}],  # noqa: S108 (where engines exchange)
    }
    place = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [place]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"spec": {"affinity": affinity, "containers": [container], "volumes": [SHARED_MEMORY]}}


def _environment(variables: Mapping[str, str]) -> list[Json]:
    """What a pod does not know beforehand is named before what is made of it."""
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    named: list[Json] = [{"name": name, "value": value} for name, value in variables.items()]
    asked = any(POD_ADDRESS in value for value in variables.values())
    return [address, *named] if asked else named
