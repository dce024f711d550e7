"""What a Ray cluster costs where it brings nothing: the same extraction in this process and on one node on the same cores.

    python -m benchmarks.on_ray [--rows 2000] [--px 160] [--network mobilenet_v2] [--rounds 2]
    python -m benchmarks.on_ray --smoke      few pictures: that it runs, not how fast

Pictures are JPEGs of 500 px, made up, ingested once; the weights are random, speed does not depend on them. Each round
extracts them into two fresh copies of that store, in this process and on Ray, one after the other; the files must be the same.
Counted of Ray: all from connecting to the end of its processes (each run starts its own), and apart from that the time until
shards can be handed out. CPU seconds are those of this process and of the node's that live at the end, raylet and GCS among
them. Left out: the start of the cluster, and ingest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
import torchvision
from safetensors.torch import save_file

from benchmarks.gpu_extract import write_pictures
from benchmarks.measure import machine, median
from tasks.config import RunConfig, load_config
from tasks.extract.extract import extract_shard, plan_shards
from tasks.extract.shards import ShardRef
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.store import Store

OBJECT_BYTES = 200_000_000


class Spent(NamedTuple):
    """What an extraction took."""

    wall_s: float
    cpu_s: float
    begun_s: float
    """Until shards could be handed out."""


@contextmanager
def ray_node() -> Iterator[tuple[str, psutil.Process]]:
    """A cluster of one node with all cores, which asks for a token: its address, and the process that started it."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    os.environ |= {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 40}
    import ray

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = Path(folder) / "node.log"
    options = [f"--port={port}", "--include-dashboard=false", f"--object-store-memory={OBJECT_BYTES}", "--block"]
    with log.open("w") as out:
        node = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *options], stdout=out, stderr=out
        )
    try:
        while "Ray runtime started" not in log.read_text():
            if node.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.2)
        yield f"{ray.util.get_node_ip_address()}:{port}", psutil.Process(node.pid)
    finally:
        for process in [*psutil.Process(node.pid).children(recursive=True), node]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def cpu_s(root: psutil.Process) -> dict[int, float]:
    """CPU seconds of the process and of each that descends from it, by process id."""
    found = {}
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            found[process.pid] = sum(process.cpu_times()[:2])
    return found


def extract_locally(shards: list[ShardRef], config: RunConfig, store: Store, node: psutil.Process) -> Spent:
    """Extracts in this process; nothing goes before."""
    own, start = time.process_time(), time.perf_counter()
    for shard in shards:
        extract_shard(shard, store)
    return Spent(time.perf_counter() - start, time.process_time() - own, 0.0)


def extract_on_ray(shards: list[ShardRef], config: RunConfig, store: Store, node: psutil.Process) -> Spent:
    """Extracts on the cluster."""
    from tasks.extract.on_ray.engine import Extraction

    own, before, start = time.process_time(), cpu_s(node), time.perf_counter()
    with Extraction(shards, config, store) as extraction:
        begun = time.perf_counter() - start
        for _ in extraction.run():
            pass
        there = sum(
            seconds - before.get(process, 0.0) for process, seconds in cpu_s(node).items()
        )  # they end with the block
    return Spent(time.perf_counter() - start, time.process_time() - own + there, begun)


def run(rows: int, px: int, network: str, rounds: int) -> None:
    """Prints the rates of both, and what Ray adds."""
    with tempfile.TemporaryDirectory() as name, ray_node() as (address, node):
        folder = Path(name)
        torch.manual_seed(0)
        save_file(torchvision.models.get_model(network).state_dict(), folder / "weights.safetensors")
        settings = [f"encoders.image=torchvision:{network}@{folder / 'weights.safetensors'}", f"encoders.image_px={px}"]
        settings += ["extract.engine=ray", f"extract.ray_address={address}", "split.near_duplicates=false"]
        config = load_config({}, [*settings, f"extract.shard_rows={max(8, rows // 16)}"])
        (folder / "pictures").mkdir()
        source = Store(folder / "store")
        source.prepare()
        clean = ingest(scan(config, source, write_pictures(folder / "pictures", rows, 500)), config, source)
        shards = plan_shards(clean, config, source)
        spent: dict[str, list[Spent]] = {"local": [], "ray": []}
        engines = {"local": extract_locally, "ray": extract_on_ray}
        for turn in range(rounds + 1):  # the first is not counted: torch is loaded in it
            names = {}
            for engine, extract in engines.items():
                store = Store(shutil.copytree(source.root, folder / f"{engine}-{turn}"))
                found = extract(shards, config, store, node)
                if turn:
                    spent[engine].append(found)
                names[engine] = sorted(path.name for path in store.root.glob("features/image/*/*.parquet"))
            if names["local"] != names["ray"]:
                raise RuntimeError("the engines wrote different features")
        local, ray = (Spent(*map(median, zip(*spent[engine], strict=True))) for engine in engines)
        load = f"load {os.getloadavg()[0]:.1f}"
        print(f"{machine('torch', 'ray')}; {load}; {network} at {px} px, {rows} pictures in {len(shards)} shards")
        for engine, one in (("local", local), ("ray", ray)):
            print(f"{engine:5} {one.wall_s:.1f} s, {rows / one.wall_s:.1f} pictures/s, {one.cpu_s:.1f} CPU-s")
        print(f"of Ray's until shards could be handed out: {ray.begun_s:.1f} s")
        print(
            f"ray / local: wall {ray.wall_s / local.wall_s:.2f}, CPU {ray.cpu_s / local.cpu_s:.2f}; medians of {rounds} rounds"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--px", type=int, default=160)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.rows, options.px, options.network, options.rounds = 24, 48, "squeezenet1_1", 1
    run(options.rows, options.px, options.network, options.rounds)


if __name__ == "__main__":
    main()
