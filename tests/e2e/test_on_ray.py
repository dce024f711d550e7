"""A retrain whose features two Ray nodes compute: as in one process, though a node, or the run itself, is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.buckets import bucket, s3_environment
from tests.support.ray_nodes import Cluster, processes_named, ray_cluster
from tests.waiting import wait_until

__all__ = ["bucket", "s3_environment"]

pytestmark = pytest.mark.slow
CROSSMODAL = str(Path(sys.executable).with_name("crossmodal"))
PICTURES = 120


@pytest.fixture
def cluster(s3_environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    """A head without CPUs, beside which runs are started, and a node with one."""
    with ray_cluster(0, {**s3_environment, "CROSSMODAL_CACHE": str(tmp_path / "cache")}) as found:
        found.add(f"--address={found.address}", "--num-cpus=1")
        yield found


class Runs:
    """Retrains of one data set with a frozen network, in shards of four pictures."""

    def __init__(self, data: Path, weights: Path, small: list[str], environment: dict[str, str]) -> None:
        settings = [f"encoders.image=torchvision:squeezenet1_1@{weights}", "encoders.audio=off", "encoders.text=off"]
        self._command = [CROSSMODAL, "retrain", "--data", str(data), *small, "--json"]
        for setting in (*settings, "encoders.image_px=128", "extract.shard_rows=4"):
            self._command += ["--set", setting]
        self.environment = environment

    def start(self, store: Path | str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, "--store", str(store), *arguments],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, store: Path | str, *arguments: str) -> Any:
        """The summary of a run that ended well."""
        with self.start(store, *arguments) as process:
            return ended(process)


def ended(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def runs(learnable: Path, squeezenet: Path, small_settings: list[str], cluster: Cluster) -> Runs:
    return Runs(learnable, squeezenet, small_settings, dict(cluster.environment))


def on_ray(cluster: Cluster) -> list[str]:
    return ["--set", "extract.engine=ray", "--set", f"extract.ray_address={cluster.address}"]


def parts(store: Path) -> list[Path]:
    return sorted((store / "features").rglob("*.parquet"))


def assert_each_medium_once_as_in(local: Path, store: Path) -> None:
    """The names of parts hold the digests of their bytes."""
    assert [path.name for path in parts(store)] == [path.name for path in parts(local)]
    held = Counter(digest for path in parts(store) for digest in pq.read_table(path)["digest"].to_pylist())
    assert len(held) == PICTURES
    assert set(held.values()) == {1}


def test_a_node_may_come_and_another_be_killed(runs: Runs, cluster: Cluster, tmp_path: Path) -> None:
    local = runs.run(tmp_path / "local", "--plain")
    store, (_, first) = tmp_path / "store", cluster.nodes
    with runs.start(store, "--plain", "--set", "extract.ray_workers=2", *on_ray(cluster)) as process:
        wait_until(lambda: process.poll() is not None or len(parts(store)) > 3, "the only node with CPUs has done some")
        for actor in processes_named(first, "EncoderActor"):
            actor.suspend()
        done = len(parts(store))
        cluster.add(f"--address={cluster.address}", "--num-cpus=1")
        wait_until(
            lambda: process.poll() is not None or len(parts(store)) > done + 1,
            "the process that was asked for and had no room computes on the new node",
        )
        cluster.kill(first)
        summary = ended(process)
    assert_each_medium_once_as_in(tmp_path / "local", tmp_path / "store")
    where = summary["extracted_on"]
    assert where["engine"] == "ray"
    assert where["retried"] >= 1
    assert sum(where["shards"].values()) == len(parts(tmp_path / "store")) == 30
    assert len(where["shards"]) == 2, "both nodes finished some"
    assert summary["work"]["computed"] == local["work"]["computed"] == {"image": PICTURES}
    assert summary["model"]["sha256"] == local["model"]["sha256"]
    again = runs.run(tmp_path / "store", "--plain")
    assert (again["verdict"], again["work"]["computed"]) == ("unchanged", {"image": 0}), (
        "where they were computed is no matter"
    )
    assert "extracted_on" not in again


def test_a_run_that_is_killed_leaves_nothing_on_the_cluster_and_is_gone_on_with(
    runs: Runs, cluster: Cluster, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with runs.start(store, "--plain", *on_ray(cluster)) as killed:
        wait_until(lambda: killed.poll() is not None or len(parts(store)) > 3, "some shards are done")
        killed.kill()
    wait_until(
        lambda: not any(processes_named(node, "EncoderActor") for node in cluster.nodes), "its processes have ended"
    )
    done = len(parts(store))
    assert 3 < done < 30
    summary = runs.run(store, *on_ray(cluster))  # under Prefect
    assert sum(summary["work"]["computed"].values()) + sum(summary["work"]["reused"].values()) == PICTURES
    assert summary["work"]["reused"] == {"image": 4 * done}
    runs.run(tmp_path / "local", "--plain")
    held = Counter(digest for path in parts(store) for digest in pq.read_table(path)["digest"].to_pylist())
    assert (len(held), set(held.values())) == (PICTURES, {1})


def test_a_store_in_a_bucket_is_all_that_nodes_share(runs: Runs, cluster: Cluster, bucket: str, tmp_path: Path) -> None:
    runs.run(tmp_path / "local", "--plain")
    runs.environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"
    summary = runs.run(bucket, "--plain", *on_ray(cluster))
    assert summary["work"]["computed"] == {"image": PICTURES}
    (cache,) = (tmp_path / "cache" / "stores").iterdir()
    assert_each_medium_once_as_in(tmp_path / "local", cache)
