"""The manifests of a Ray cluster: what Kubernetes knows of them satisfies its schema, and they fit each other and the code."""

from __future__ import annotations

import copy
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.config import RunConfig, load_config

RAY = Path(__file__).resolve().parents[2] / "deployments" / "ray"
CLUSTER = yaml.safe_load((RAY / "cluster.yaml").read_text())
OTHERS = list(yaml.safe_load_all((RAY / "retrain.yaml").read_text()))


def groups() -> list[dict[str, Any]]:
    return [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]


def pods() -> list[dict[str, Any]]:
    return [*(group["template"] for group in groups()), OTHERS[0]["spec"]["template"]]


def test_pods_jobs_and_policies_satisfy_the_schema_of_kubernetes() -> None:
    """RayCluster itself is KubeRay's, whose schema is in no library."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="installed by the extra dev")
    latest = kubernetes_validate.latest_version()
    whole = [{"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(pod)} for pod in pods()]
    for manifest in (*whole, *OTHERS):
        kubernetes_validate.validate(manifest, latest, strict=True)
    whole[0]["spec"]["containers"][0]["envv"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(whole[0], latest, strict=True)


def test_every_pod_has_one_image_the_token_and_no_rights_that_it_does_not_need() -> None:
    containers = [container for pod in pods() for container in pod["spec"]["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for container in containers:
        environment = {entry["name"]: entry for entry in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "crossmodal-ray", "key": "token"}
        assert environment["CROSSMODAL_CACHE"]["value"] == "/cache", "one path on all nodes"
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "memory" in container["resources"]["limits"]
    assert all(pod["spec"]["securityContext"]["runAsNonRoot"] for pod in pods())
    tokens = [pod["spec"]["automountServiceAccountToken"] for pod in pods()]
    assert tokens == [True, False, False, False], "only the head's autoscaler asks Kubernetes"


def test_nodes_run_the_ray_that_constraints_name_and_runs_find_its_head() -> None:
    assert CLUSTER["spec"]["rayVersion"] == version("ray")
    assert CLUSTER["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (command,) = OTHERS[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--address={CLUSTER['metadata']['name']}-head-svc:6379 --num-cpus=0" in command
    config = load_config({}, re.findall(r"--set (\S+)", command))
    assert (config.extract.engine, config.extract.ray_address) == ("ray", RunConfig().extract.ray_address)


def test_the_autoscalers_workers_take_the_processes_that_are_asked_for() -> None:
    """A pending process asks for its share of CPUs: a worker must have them."""
    for group in CLUSTER["spec"]["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert int(container["resources"]["limits"]["cpu"]) >= 8, "cluster.py: MOST_CPUS without any node to look at"
