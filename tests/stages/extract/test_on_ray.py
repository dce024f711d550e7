"""Extraction on a Ray cluster of this machine: the same files as in one process, and one line where it cannot be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray._raylet import AuthenticationTokenLoader, Config

from data_contracts.refs import CleanRef
from tasks import progress
from tasks.config import RunConfig, load_config
from tasks.config_training import ExtractConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.extract.extract import collect_features, extract_shard, plan_shards
from tasks.extract.on_ray.cluster import connected, plan_workers, probe_nodes
from tasks.extract.on_ray.engine import Extraction
from tasks.extract.on_ray.node import Site
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.store import Store
from tests.support.data import TINY
from tests.support.ray_nodes import Cluster, processes_named, ray_cluster
from tests.waiting import wait_until

MakeData = Callable[..., Path]
CPU_NODES = [{"CPU": 4.0}, {"CPU": 9.0}, {"node:head": 1.0}]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster(cpus=2) as found:
        yield found


@pytest.fixture
def driver(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """The setting that names the cluster; this process has its token, though it may have imported Ray before."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    return f"extract.ray_address={cluster.address}"


def _parts(store: Store) -> list[str]:
    """Of all features; the names hold the digests of their bytes."""
    return sorted(path.relative_to(store.root).as_posix() for path in (store.root / "features").rglob("*.parquet"))


def _prepared(
    make_data: MakeData, weights: Path, store: Store, *overrides: str, rows: int = 30
) -> tuple[CleanRef, RunConfig]:
    """Pictures for a frozen network, and texts and sounds as inputs of trained ones; shards of 8."""
    settings = [f"encoders.image=torchvision:squeezenet1_1@{weights}", "encoders.image_px=48", "extract.shard_rows=8"]
    config = load_config({}, [*TINY, *settings, "runtime.workers=1", "extract.engine=ray", *overrides])
    return ingest(scan(config, store, make_data(rows)), config, store), config


@pytest.mark.slow
def test_features_are_the_files_of_one_process(
    make_data: MakeData, squeezenet: Path, store: Store, driver: str, tmp_path: Path
) -> None:
    clean, config = _prepared(make_data, squeezenet, store, driver)
    shards = plan_shards(clean, config, store)
    shutil.copytree(store.root, tmp_path / "local")
    local = Store(tmp_path / "local")
    for shard in shards:
        extract_shard(shard, local)
    lines: list[str] = []
    with (
        progress.listening_to_lines(lambda line, level: lines.append(line)),
        Extraction(shards, config, store) as extraction,
    ):
        done = [shard.key for shard in extraction.run()]
        where = extraction.extracted_on()
    assert sorted(done) == sorted(shard.key for shard in shards)
    assert _parts(store) == _parts(local)
    assert len(_parts(store)) == len(shards) > 3
    assert plan_shards(clean, config, store) == []
    assert {name: ref.computed for name, ref in collect_features(clean, config, store, shards).items()} == {
        "audio": 30,
        "image": 30,
        "text": 30,
    }
    assert (sum(where.shards.values()), where.retried) == (len(shards), 0)
    assert re.search(
        rf"extract: on Ray at \S+: {len(shards)} shards for 1 processes of 2 CPUs each; nodes: \S", lines[0]
    )

    store.refresh("features")
    again = plan_shards(clean, config, store)
    with Extraction(again, config, store) as extraction:
        assert len(list(extraction.run())) == len(shards)
    assert plan_shards(clean, config, store) == [], "what came out as it was counts as computed"


@pytest.mark.slow
def test_a_killed_process_loses_and_doubles_nothing(
    make_data: MakeData, squeezenet: Path, store: Store, driver: str, tmp_path: Path, cluster: Cluster
) -> None:
    clean, config = _prepared(make_data, squeezenet, store, driver, "extract.shard_rows=4", rows=24)
    shards = plan_shards(clean, config, store)
    shutil.copytree(store.root, tmp_path / "local")
    local = Store(tmp_path / "local")
    for shard in shards:
        extract_shard(shard, local)
    with Extraction(shards, config, store) as extraction:
        killed = False
        for _ in extraction.run():
            if not killed:
                killed = True
                for process in processes_named(cluster.nodes[0], "EncoderActor"):
                    process.kill()
        where = extraction.extracted_on()
    assert _parts(store) == _parts(local)
    assert where.retried > 0
    assert sum(where.shards.values()) == len(shards)
    wait_until(lambda: not processes_named(cluster.nodes[0], "EncoderActor"), "none is left after the block")


@pytest.mark.slow
def test_a_node_that_does_not_see_the_store_or_computes_otherwise_is_named(
    make_data: MakeData, squeezenet: Path, store: Store, driver: str
) -> None:
    clean, config = _prepared(make_data, squeezenet, store, driver, rows=3)
    (store.root / "tmp" / "seen").touch()
    site = Site(root=str(store.root), address=None, mark="tmp/seen", config=config.model_dump_json(), fingerprints=())
    with connected(config.extract.ray_address):
        assert len(probe_nodes(site)) == 1
        with pytest.raises(EnvironmentFailed, match=r"^node \S+ \(\w+\): does not see the store /.*; put it where all"):
            probe_nodes(site.model_copy(update={"mark": "tmp/other"}))
        other = (("image", clean.media["image"], "0" * 64),)
        with pytest.raises(EnvironmentFailed, match=r"^node \S+ \(\w+\): would compute other image features than"):
            probe_nodes(site.model_copy(update={"fingerprints": other}))
        gone = config.model_dump_json().replace(str(squeezenet), f"{squeezenet}.gone")
        fingerprints = (("image", clean.media["image"], "0" * 64),)
        with pytest.raises(UsageError, match=r"^node \S+ \(\w+\): .*\.gone"):
            probe_nodes(site.model_copy(update={"config": gone, "fingerprints": fingerprints}))


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("127.0.0.1:1", EnvironmentFailed, "no cluster answers there"),
        ("ray://head:10001", UsageError, "is not HOST:PORT"),
        ("head", UsageError, "is not HOST:PORT"),
        ("head:99999999999999999999", EnvironmentFailed, "no cluster answers there"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_at_once(address: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as told, connected(address):
        pass
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("settings", "nodes", "expected"),
    [
        ({}, CPU_NODES, (3, 3.0, 0.0, 2)),
        ({"ray_cpus": 1}, CPU_NODES, (13, 0.75, 0.0, 2)),
        ({"ray_workers": 2}, CPU_NODES, (2, 3.0, 0.0, 2)),
        ({}, [], (1, 6.0, 0.0, 2)),
        ({}, [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}], (2, 0.0, 1.0, 8)),
        ({"ray_gpus": 0.5}, [{"CPU": 8.0, "GPU": 1.0}], (2, 0.0, 0.5, 4)),
        ({"ray_gpus": 1.0, "ray_workers": 6}, [], (6, 0.0, 1.0, 1)),
        ({"ray_gpus": 0.0}, [{"CPU": 8.0, "GPU": 1.0}], (1, 6.0, 0.0, 2)),
    ],
)
def test_the_cluster_is_cut_into_processes_whose_feeders_find_room(
    settings: dict[str, float], nodes: list[dict[str, float]], expected: tuple[int, float, float, int]
) -> None:
    plan = plan_workers(ExtractConfig(**settings), nodes, shards=100, embeds=True)
    assert (plan["workers"], plan["cpus"], plan["gpus"], plan["feeders"]) == expected
    if not plan["gpus"]:
        asked = plan["cpus"] + plan["feeders"] * plan["workshop"].feed_cpus
        assert asked == plan["workshop"].cpus, "one's feeders have room beside it"
    assert plan_workers(ExtractConfig(**settings), nodes, shards=1, embeds=True)["workers"] == 1
    assert plan_workers(ExtractConfig(**settings), nodes, shards=1, embeds=False)["gpus"] == 0
