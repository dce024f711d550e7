"""The image, the units and the manifests: linted, checked against their schemas, and consistent with each other."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER, SYSTEMD, KUBERNETES = (ROOT / "deployments" / name for name in ("docker", "systemd", "kubernetes"))
EXAMPLE = "secret.example.yaml"


def program(name: str) -> str:
    """The path of a program; without it the test fails where CI is set, and is skipped with the reason elsewhere."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")
    return found


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


# -- Docker ---


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"(?m)^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    hadolint = program("hadolint")
    assert (ran := run(hadolint, "--no-color", DOCKER / "Dockerfile")).returncode == 0, ran.stdout
    worse = tmp_path / "Dockerfile"
    worse.write_text((DOCKER / "Dockerfile").read_text().replace("bookworm", "bookworm\nADD http://x.example/y /", 1))
    assert run(hadolint, worse).returncode != 0


def test_the_image_runs_as_a_number_with_a_health_check_and_keeps_its_layers_apart() -> None:
    lines = instructions()
    final = lines[[name for name, _ in lines].index("FROM", 2) :]
    assert [value for name, value in final if name == "USER"] == ["1000:1000"]
    assert {"HEALTHCHECK", "STOPSIGNAL", "VOLUME", "LABEL", "CMD"} <= {name for name, _ in final}
    assert not {"ENTRYPOINT", "ADD"} & {name for name, _ in lines}, "workers pass their command as arguments"
    values = [value for _, value in lines]
    installed = next(place for place, value in enumerate(values) if "--requirement" in value)
    assert installed < values.index(". ."), "a change of code would install the dependencies again"


def test_the_image_installs_what_pyproject_requires() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ran = run(sys.executable, DOCKER / "requirements.py", "remote", cwd=ROOT)
    assert ran.stdout.splitlines() == [*project["dependencies"], *project["optional-dependencies"]["remote"]]
    ran = run(sys.executable, DOCKER / "requirements.py", "--only", "predict", cwd=ROOT)
    assert ran.stdout.splitlines() == project["optional-dependencies"]["predict"]
    refused = run(sys.executable, DOCKER / "requirements.py", "remoet", cwd=ROOT)
    assert refused.returncode != 0
    assert "remoet" in refused.stderr


def test_the_build_context_is_a_list_of_what_is_needed() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert all((ROOT / line[1:]).exists() for line in lines if line.startswith("!"))
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"!{name.rstrip('*')}" for name in packages} <= set(lines)


def test_compose_opens_no_port_to_the_network() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert services["crossmodal"]["network_mode"] == "host"  # and `up` listens on loopback
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    assert services["crossmodal"]["read_only"] is True
    assert services["crossmodal"]["cap_drop"] == ["ALL"]
    assert not re.search(r"PASSWORD: ", (DOCKER / "compose.yaml").read_text())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_image_builds_and_runs_as_nobody() -> None:
    """Installs all dependencies into an image: where an engine has the base image already."""
    base = re.findall(r"PYTHON_IMAGE=(\S+)", (DOCKER / "Dockerfile").read_text())[0]
    engines = [name for name in ("docker", "podman") if shutil.which(name)]
    ready = [name for name in engines if run(name, "image", "inspect", base).returncode == 0]
    if not ready:
        pytest.skip(f"no container engine here has the image {base} (engines: {', '.join(engines) or 'none'})")
    tag = "crossmodal:test"
    try:
        ran = run(ready[0], "build", "--file", DOCKER / "Dockerfile", "--tag", tag, ROOT)
        assert ran.returncode == 0, ran.stderr[-3000:]
        safe = ("--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")
        assert run(ready[0], "run", *safe, tag, "id", "-u").stdout.strip() == "1000"
        assert run(ready[0], "run", *safe, tag, "crossmodal", "--version").stdout.startswith("crossmodal ")
    finally:
        run(ready[0], "image", "rm", "--force", tag)


# -- systemd ---


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as they would be on a host that has this environment at /opt/crossmodal."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copytree(SYSTEMD, tmp_path / "deployments" / "systemd")
    written = []
    for unit in sorted(SYSTEMD.glob("crossmodal*")):
        written.append(tmp_path / unit.name)
        written[-1].write_text(unit.read_text().replace("/opt/crossmodal", str(tmp_path)))
    return written


def test_systemd_takes_the_units_and_calls_their_exposure_low(units: list[Path]) -> None:
    analyze = program("systemd-analyze")
    ran = run(analyze, "verify", "--man=no", *units)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
    for unit in units:
        if unit.suffix == ".service":
            safe = run(analyze, "security", "--no-pager", "--offline=true", "--threshold=40", unit)  # tenths
            assert safe.returncode == 0, safe.stdout[-300:]
    units[0].write_text(units[0].read_text().replace("Type=", "Tpye="))
    assert "Tpye" in run(analyze, "verify", "--man=no", units[0]).stderr


def test_the_backup_script_leaves_a_dated_copy_or_nothing(units: list[Path], tmp_path: Path) -> None:
    script, copies = tmp_path / "deployments/systemd/backup", tmp_path / "copies"
    copies.mkdir()
    environment = {**os.environ, "CROSSMODAL_STORE": str(tmp_path / "store")}
    environment.pop("PGDATABASE", None)
    assert run(script, copies, env=environment).returncode != 0, "there is no store yet"
    assert list(copies.iterdir()) == []
    (tmp_path / "store/runs").mkdir(parents=True)
    (tmp_path / "store/runs/one.txt").write_text("1")
    assert (ran := run(script, copies, env=environment)).returncode == 0, ran.stderr
    assert len(list(copies.glob("20*T*Z/store/backup.json"))) == 1


# -- Kubernetes ---


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path.name, document) for document in yaml.safe_load_all(path.read_text()))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for _, each in manifests() if each["kind"] == kind}


def test_every_manifest_satisfies_the_schema_of_kubernetes() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="installed by the extra dev")
    version = kubernetes_validate.latest_version()
    for _, manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)
    wrong = copy.deepcopy(of_kind("Deployment")["mlflow"])
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_kustomization_has_every_manifest_but_the_form_of_the_secret() -> None:
    base = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert set(base["resources"]) == {name for name, _ in manifests()} - {EXAMPLE}
    assert {image["name"] for image in base["images"]} == {
        container["image"] for pod in pods() for container in pod["spec"]["containers"]
    }


def pods() -> list[dict[str, Any]]:
    return [deployment["spec"]["template"] for deployment in of_kind("Deployment").values()]


def test_what_pods_refer_to_exists() -> None:
    keys = set(of_kind("Secret")["crossmodal"]["stringData"])
    labels = [pod["metadata"]["labels"] for pod in pods()]
    for pod in pods():
        for volume in pod["spec"]["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in of_kind("PersistentVolumeClaim")
        assert pod["spec"].get("serviceAccountName") in {None, *of_kind("ServiceAccount")}
        for container in pod["spec"]["containers"]:
            for variable in container["env"]:
                if source := variable.get("valueFrom"):
                    assert source["secretKeyRef"] == {"name": "crossmodal", "key": source["secretKeyRef"]["key"]}
                    assert source["secretKeyRef"]["key"] in keys
                assert (
                    not re.search("AUTH_STRING$|PASSWORD|CONNECTION_URL", variable["name"]) or "valueFrom" in variable
                )
    for service in of_kind("Service").values():
        assert any(service["spec"]["selector"].items() <= each.items() for each in labels), service["metadata"]["name"]


def test_pods_have_no_rights_that_they_do_not_need() -> None:
    for pod in pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert ("serviceAccountName" in spec) != (spec.get("automountServiceAccountToken") is False)
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"startupProbe", "livenessProbe"} <= set(container)
            assert "memory" in container["resources"]["limits"]
    (role,) = of_kind("Role").values()
    granted = {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}
    assert granted["jobs"] == {"get", "list", "watch", "create", "delete"}
    assert granted.keys() == {"jobs", "pods", "pods/log", "pods/status"}
    assert not of_kind("ClusterRole")
    assert of_kind("NetworkPolicy")["refuse-ingress"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_every_setting_of_prefect_and_mlflow_that_is_set_exists() -> None:
    text = "".join(path.read_text() for folder in (DOCKER, SYSTEMD, KUBERNETES) for path in folder.iterdir())
    import mlflow.environment_variables as mlflow_settings
    import prefect.settings as prefect_settings

    used = {name for name in re.findall(r"\b(?:PREFECT|MLFLOW)_[A-Z_]+\b", text) if "_INTEGRATIONS_" not in name}
    assert len(used) > 8
    assert {
        name for name in used if not hasattr(prefect_settings if "PREFECT" in name else mlflow_settings, name)
    } == set()
