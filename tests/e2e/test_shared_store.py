"""Two machines that share a bucket and a registry: what one has made the other finds, also when it was killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import bucket, s3_environment
from tests.waiting import wait_until

__all__ = ["bucket", "s3_environment"]

pytestmark = pytest.mark.slow
CROSSMODAL = str(Path(sys.executable).with_name("crossmodal"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server that both machines reach."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        f"{tmp_path}/mlflow",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{address}/health"), "MLflow's server answers", every_s=0.5)
        yield address
        os.killpg(server.pid, signal.SIGKILL)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address) as answer:
        return bool(answer.status == 200)
    return False


def test_a_run_killed_in_its_training_is_gone_on_with_by_another_machine(
    registry: str,
    bucket: str,
    s3_environment: dict[str, str],
    learnable: Path,
    small_settings: list[str],
    tmp_path: Path,
) -> None:
    arguments = ["--data", str(learnable), *small_settings, "--store", f"{bucket}/team", "--json", "--plain"]

    def start(machine: str, *command: str) -> subprocess.Popen[str]:
        """A command on a machine, which has a cache of its own and nothing else."""
        environment = {**os.environ, **s3_environment, "CROSSMODAL_CACHE": str(tmp_path / machine)}
        environment["MLFLOW_TRACKING_URI"] = registry
        return subprocess.Popen(
            [CROSSMODAL, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(machine: str, *command: str) -> Any:
        """The JSON of a command that ended well."""
        with start(machine, *command) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    with start("a", "retrain", *arguments) as killed:
        stores = tmp_path / "a" / "stores"
        wait_until(lambda: any(path.is_dir() for path in stores.glob("*/work/train-*")), "the training has begun")
        os.kill(killed.pid, signal.SIGKILL)
    first = run("b", "retrain", *arguments)  # waits until the lease of the training, which nobody renews, has run out
    assert first["verdict"] == "promote", first["reason"]
    assert set(first["work"]["computed"].values()) == {0}, "what the killed machine extracted is there"
    again = run("a", "retrain", *arguments)
    assert (again["verdict"], again["model"]) == ("unchanged", first["model"])
    (listed,) = run("c", "models", "list", "--store", f"{bucket}/team", "--json")
    assert listed["champion"] == "1"
    damage = run("b", "store", "verify", "--deep", "--store", f"{bucket}/team", "--json")
    assert damage["findings"] == []


def test_a_bucket_without_a_registry_that_all_reach_is_refused(
    bucket: str, learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSMODAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = [CROSSMODAL, "retrain", "--plain", "--data", str(learnable), "--store", bucket]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "set MLFLOW_TRACKING_URI to the address of an MLflow server" in found.stderr
