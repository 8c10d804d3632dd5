"""The Kubernetes manifests: valid, restricted, and consistent with each other and the service."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import deployment
import rackfit
from deployment import ROOT, image_environment, installed, run
from rackfit.settings import Settings, read_settings

KUBERNETES = ROOT / "deploy/kubernetes"
FILES = sorted(path for path in KUBERNETES.glob("*/*.yaml") if path.name != "kustomization.yaml")
OVERLAYS = [KUBERNETES, KUBERNETES / "base", KUBERNETES / "redis"]

# Kubernetes gives schemas of its own resources only.
CUSTOM = {"ServiceMonitor"}
# The oldest cluster the manifests are meant for, and the newest with a schema at hand.
CLUSTERS = ["1.27", "1.37"]

Object = dict[str, Any]


def _read(path: Path) -> Object:
    return msgspec.yaml.decode(path.read_bytes(), type=Object)


def _source(name: str) -> Object:
    return _read(KUBERNETES / name)


def _pod(manifest: Object) -> Object:
    pod: Object = manifest["spec"]["template"]["spec"]
    return pod


def _labels(manifest: Object) -> dict[str, str]:
    labels: dict[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return labels


DEPLOYMENT = _source("base/deployment.yaml")
SERVICE = _source("base/service.yaml")
NETWORK_POLICY = _source("base/network-policy.yaml")
REDIS = _source("redis/deployment.yaml")
[CONTAINER] = _pod(DEPLOYMENT)["containers"]
[REDIS_CONTAINER] = _pod(REDIS)["containers"]

each_deployment = pytest.mark.parametrize("manifest", [DEPLOYMENT, REDIS], ids=["rackfit", "redis"])


@pytest.fixture(scope="session")
def kubectl() -> str:
    """Return the path of a kubectl that brings kustomize 5."""
    path = deployment.on_path("kubectl", "single files were validated, what kustomize renders not")
    version = json.loads(run(path, "version", "--client", "--output=json"))
    kustomize = version.get("kustomizeVersion", "v2")
    if not re.match(r"v([5-9]|\d\d)\.", kustomize):
        pytest.skip(f"kubectl brings kustomize {kustomize}; 5 (kubectl 1.27) or later is needed")
    return path


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def rendered(request: pytest.FixtureRequest, kubectl: str, tmp_path: Path) -> list[Path]:
    """Return the files that kustomize renders, one for each object."""
    run(kubectl, "kustomize", request.param, "--output", tmp_path)
    return sorted(tmp_path.iterdir())


def _validate(cluster: str, paths: list[Path]) -> None:
    known = [path for path in paths if _read(path)["kind"] not in CUSTOM]
    printed = run(installed("kubernetes-validate"), "-k", cluster, "--strict", *known)

    assert len(known) == printed.count(" passed ")


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_files_are_valid_by_strict_schema(cluster: str) -> None:
    """Every single file conforms to the schema of its kind, with no field that is not in it."""
    _validate(cluster, FILES)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_rendered_objects_are_valid_by_strict_schema(cluster: str, rendered: list[Path]) -> None:
    """What kustomize renders conforms too, generated ConfigMap and replaced image included."""
    _validate(cluster, rendered)


def test_strict_schema_sees_a_fault(tmp_path: Path) -> None:
    """The validation that finds nothing is one that can find something."""
    faulty = tmp_path / "deployment.yaml"
    text = (KUBERNETES / "base/deployment.yaml").read_text()
    faulty.write_text(text.replace("readinessProbe", "readynessProbe"))

    with pytest.raises(AssertionError, match="readynessProbe"):
        _validate(CLUSTERS[-1], [faulty])


def test_rendered_objects_share_one_namespace(rendered: list[Path]) -> None:
    """Everything lands in the namespace rackfit, which the Pod Security Standard restricts."""
    objects = [_read(path) for path in rendered]
    [namespace] = [item for item in objects if item["kind"] == "Namespace"]
    others = [item for item in objects if item["kind"] != "Namespace"]

    assert {"rackfit"} == {item["metadata"]["namespace"] for item in others}
    assert "restricted" == namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]


def test_rendered_deployment_takes_its_settings_from_the_generated_map(
    rendered: list[Path],
) -> None:
    """The pod reads the ConfigMap that kustomize generated, and its variables are settings."""
    objects = {(item["kind"], item["metadata"]["name"]): item for item in map(_read, rendered)}
    [container] = _pod(objects["Deployment", "rackfit"])["containers"]
    name = container["envFrom"][0]["configMapRef"]["name"]
    given = objects["ConfigMap", name]["data"]

    assert name != "rackfit"
    assert read_settings(image_environment() | given) != Settings()


def test_image_tag_is_the_version_of_the_package() -> None:
    """The manifests deploy the version they were committed with."""
    [image] = _source("base/kustomization.yaml")["images"]

    assert {"name": CONTAINER["image"], "newTag": rackfit.__version__} == image


def test_settings_fit_the_container() -> None:
    """One serving process, compute processes as CPUs, and the catalog where it is mounted."""
    settings = _settings()
    limits = CONTAINER["resources"]["limits"]
    mounts = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}

    assert 1 == settings.workers
    assert limits["cpu"] == str(settings.compute_processes)
    assert settings.catalog_dir is not None
    assert {f"{settings.catalog_dir}/models", f"{settings.catalog_dir}/accelerators"} <= mounts
    assert settings.port == CONTAINER["ports"][0]["containerPort"]


def test_memory_alert_is_half_the_limit(alerts: dict[str, deployment.Rule]) -> None:
    """The limit that the memory alert speaks of is the one in the manifest."""
    limit = CONTAINER["resources"]["limits"]["memory"]

    assert "1Gi" == limit
    assert f"> {(1 << 30) // 2}" in alerts["RackfitMemoryHigh"].expr


@each_deployment
def test_pods_meet_the_restricted_standard(manifest: Object) -> None:
    """No root, no privileges, no token, a read-only root file system, requests and limits."""
    pod = _pod(manifest)
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert not pod["automountServiceAccountToken"]
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert {"cpu", "memory"} == set(container["resources"]["limits"])


@each_deployment
def test_service_links_are_off(manifest: Object) -> None:
    """No Service puts variables like RACKFIT_PORT=tcp://… into a pod, where they would be read."""
    assert not _pod(manifest)["enableServiceLinks"]
    with pytest.raises(ValueError, match="RACKFIT_SERVICE_HOST"):
        read_settings({"RACKFIT_SERVICE_HOST": "10.0.0.1"})


def test_pod_runs_as_the_user_of_the_image() -> None:
    """User and group are those the image was made for."""
    [user] = [arguments for name, arguments in deployment.instructions() if name == "USER"]
    context = _pod(DEPLOYMENT)["securityContext"]

    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_probes_ask_the_health_routes() -> None:
    """Readiness asks /health/ready, which may say no; what restarts a pod asks /health/live."""
    probes = {
        name: CONTAINER[name]["httpGet"]["path"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }

    assert {
        "startupProbe": "/health/live",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    } == probes


def test_pod_has_time_to_end() -> None:
    """The grace period covers the wait before SIGTERM and the 10 s the service takes to end."""
    [_, wait_seconds] = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]

    assert _pod(DEPLOYMENT)["terminationGracePeriodSeconds"] > int(wait_seconds) + 10


def test_autoscaler_owns_the_number_of_replicas() -> None:
    """The autoscaler targets the Deployment, which states no number that would reset it."""
    spec = _source("base/horizontal-pod-autoscaler.yaml")["spec"]

    assert {"apiVersion": "apps/v1", "kind": "Deployment", "name": "rackfit"} == spec[
        "scaleTargetRef"
    ]
    assert "replicas" not in DEPLOYMENT["spec"]
    assert 2 <= spec["minReplicas"] < spec["maxReplicas"]


def test_everything_selects_the_pods() -> None:
    """Deployment, Service, budget, spread, policy and monitor name labels that the pods carry."""
    matches = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        _source("base/pod-disruption-budget.yaml")["spec"]["selector"]["matchLabels"],
        NETWORK_POLICY["spec"]["podSelector"]["matchLabels"],
        *(
            constraint["labelSelector"]["matchLabels"]
            for constraint in _pod(DEPLOYMENT)["topologySpreadConstraints"]
        ),
    ]

    assert [_labels(DEPLOYMENT)] * len(matches) == matches


def test_monitor_scrapes_the_service_as_the_job_of_the_rules() -> None:
    """The ServiceMonitor selects the Service and its port, and the job is named rackfit."""
    spec = _source("monitoring/service-monitor.yaml")["spec"]
    [endpoint] = spec["endpoints"]
    labels = SERVICE["metadata"]["labels"]

    assert {"jobLabel", "selector", "endpoints"} == set(spec)
    assert labels == spec["selector"]["matchLabels"]
    assert "rackfit" == labels[spec["jobLabel"]]
    assert {"port", "path", "interval"} == set(endpoint)
    assert [endpoint["port"]] == [port["name"] for port in SERVICE["spec"]["ports"]]
    assert "/metrics" == endpoint["path"]


def test_policy_lets_in_clients_and_prometheus_only() -> None:
    """In come labelled pods and Prometheus, to the one port of the container."""
    [rule] = NETWORK_POLICY["spec"]["ingress"]
    peers = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]

    assert ["Ingress", "Egress"] == NETWORK_POLICY["spec"]["policyTypes"]
    assert [{"rackfit-client": "true"}, {"app.kubernetes.io/name": "prometheus"}] == peers
    assert [port["name"] for port in CONTAINER["ports"]] == [port["port"] for port in rule["ports"]]


def test_policy_lets_out_to_dns_and_redis_only() -> None:
    """Out go questions to the cluster's DNS and to the Redis of the overlay."""
    dns, cache = NETWORK_POLICY["spec"]["egress"]

    assert [{"k8s-app": "kube-dns"}] == [p["podSelector"]["matchLabels"] for p in dns["to"]]
    assert [("UDP", 53), ("TCP", 53)] == [(p["protocol"], p["port"]) for p in dns["ports"]]
    assert [_labels(REDIS)] == [p["podSelector"]["matchLabels"] for p in cache["to"]]
    assert [p["containerPort"] for p in REDIS_CONTAINER["ports"]] == [
        p["port"] for p in cache["ports"]
    ]


def test_redis_overlay_connects_service_policy_and_settings() -> None:
    """The URL names the Service of Redis, which selects its pods and lets only Rackfit in."""
    service = _source("redis/service.yaml")
    policy = _source("redis/network-policy.yaml")["spec"]
    [generator] = _source("redis/kustomization.yaml")["configMapGenerator"]
    [port] = service["spec"]["ports"]
    url = f"redis://{service['metadata']['name']}:{port['port']}/0"

    assert [f"RACKFIT_REDIS_URL={url}"] == generator["literals"]
    assert _labels(REDIS) == service["spec"]["selector"] == policy["podSelector"]["matchLabels"]
    assert [_labels(DEPLOYMENT)] == [
        peer["podSelector"]["matchLabels"] for peer in policy["ingress"][0]["from"]
    ]
    assert "egress" not in policy


def test_redis_runs_with_the_options_of_the_compose_stack() -> None:
    """Redis is the same cache in both; tests/deploy/test_compose.py tries the options out."""
    compose = msgspec.yaml.decode((ROOT / "docker-compose.yml").read_bytes(), type=Object)
    redis = compose["services"]["redis"]

    assert redis["command"] == REDIS_CONTAINER["args"]
    assert redis["image"] == REDIS_CONTAINER["image"]


def _settings() -> Settings:
    """Return the settings of a pod: the image's variables and those of the ConfigMap."""
    lines = (KUBERNETES / "base/settings.env").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if not line.startswith("#")]
    return read_settings(image_environment() | dict(pairs))
