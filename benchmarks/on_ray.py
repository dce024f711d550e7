"""What a Ray cluster costs where it brings nothing: the same extraction in this process and on one node on the same cores.

    python -m benchmarks.on_ray [--rows 2000] [--px 160] [--network mobilenet_v2] [--rounds 2]
    python -m benchmarks.on_ray --smoke      few pictures: that it runs, not how fast

Pictures are JPEGs of 500 px, made up, ingested once; the weights are random, speed does not depend on them. Each round
extracts them into two fresh copies of that store, in this process and on Ray, one after the other; the files must be the same.
Counted of Ray: all from connecting to the end of its processes (each run starts its own), and apart from that the time until
shards can be handed out. CPU seconds are those of this process and of the node's, raylet and GCS among them. Left out: the
start of the cluster, and ingest.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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


def cpu_s(roots: list[psutil.Process]) -> float:
    """CPU seconds of the processes and of all that descend from them, the ended ones that were waited for included."""
    total = 0.0
    for process in [each for root in roots for each in (root, *root.children(recursive=True))]:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def extract_locally(shards: list[ShardRef], config: RunConfig, store: Store) -> float:
    """Extracts in this process; nothing goes before."""
    for shard in shards:
        extract_shard(shard, store)
    return 0.0


def extract_on_ray(shards: list[ShardRef], config: RunConfig, store: Store) -> float:
    """Extracts on the cluster; seconds until shards could be handed out."""
    from tasks.extract.on_ray.engine import Extraction

    start = time.perf_counter()
    with Extraction(shards, config, store) as extraction:
        begun = time.perf_counter() - start
        for _ in extraction.run():
            pass
    return begun


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
        walls: dict[str, list[float]] = {"local": [], "ray": []}
        cpus: dict[str, list[float]] = {"local": [], "ray": []}
        begun: list[float] = []
        engines: dict[str, Callable[[list[ShardRef], RunConfig, Store], float]] = {
            "local": extract_locally,
            "ray": extract_on_ray,
        }
        for turn in range(rounds + 1):  # the first is not counted: torch is loaded in it
            names = {}
            for engine, extract in engines.items():
                store = Store(shutil.copytree(source.root, folder / f"{engine}-{turn}"))
                before, start = cpu_s([psutil.Process(), node]), time.perf_counter()
                waited = extract(shards, config, store)
                if turn:
                    walls[engine].append(time.perf_counter() - start)
                    cpus[engine].append(cpu_s([psutil.Process(), node]) - before)
                    begun += [waited] if engine == "ray" else []
                names[engine] = sorted(path.name for path in store.root.glob("features/image/*/*.parquet"))
            if names["local"] != names["ray"]:
                raise RuntimeError("the engines wrote different features")
        local, ray = median(walls["local"]), median(walls["ray"])
        print(f"{machine()}; {network} at {px} px, {rows} pictures in {len(shards)} shards, medians of {rounds} rounds")
        print(f"local: {local:.1f} s, {rows / local:.1f} pictures/s, {median(cpus['local']):.1f} CPU-s")
        print(f"ray:   {ray:.1f} s, {rows / ray:.1f} pictures/s, {median(cpus['ray']):.1f} CPU-s")
        print(f"       of which until shards could be handed out: {median(begun):.1f} s")
        print(f"ray / local: wall {ray / local:.2f}, CPU {median(cpus['ray']) / median(cpus['local']):.2f}")


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
