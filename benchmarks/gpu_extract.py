"""What a frozen encoder's forward pass loses to all around it: pictures to vectors on one GPU.

    python -m benchmarks.gpu_extract [--network vit_b_16] [--rows 4096] [--px 500] [--workers N]
    python -m benchmarks.gpu_extract --smoke      few pictures on a CPU: that it runs, not how fast

Pictures are JPEGs of `px` x 3/4 `px`, made up, no two alike; the weights are random, speed does not depend on them. Forward
alone: the network as extraction calls it (float32), on a batch that lies on the device. Extraction: from stored media to
stored vectors (read, resized, copied, embedded, written), one shard after the other as `--plain` does, and `--workers`
shards at a time as the flow does. With decoding: the same and what ingest did before (files found, read, decoded in limited
processes, stored). Goal: with decoding at least 80 % of forward alone.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import torchvision
from safetensors.torch import save_file

from benchmarks.measure import machine, median
from tasks.config import RunConfig, load_config
from tasks.extract.extract import extract_shard, plan_shards
from tasks.extract.shards import ShardRef
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.modalities import MODALITIES
from tasks.modeling.embed import GPU_FACTOR
from tasks.modeling.pretrained.describe import complete_encoder
from tasks.modeling.pretrained.weights import frozen_encoder
from tasks.store import Store

GOAL = 0.8


def write_pictures(folder: Path, rows: int, px: int) -> Path:
    """A manifest of JPEGs, smooth as photographs are, of two labels."""
    rng = np.random.default_rng(0)
    height = px * 3 // 4
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "label"])
        for row in range(rows):
            coarse = rng.integers(0, 256, (-(-height // 8), -(-px // 8), 3), np.uint8)
            pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :px]
            (folder / f"{row}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90))
            writer.writerow([row, f"{row}.jpg", "ab"[row % 2]])
    return folder / "manifest.csv"


def time_forward(shard: ShardRef, batches: int) -> float:
    """Pictures a second of the network alone."""
    spec = complete_encoder("image", shard.encoder, shard.identity)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = frozen_encoder("image", spec, device)
    size = MODALITIES["image"].batch_rows * (GPU_FACTOR if device.type == "cuda" else 1)
    side = spec.settings["px"]
    pixels, lengths = torch.rand(size, 3, side, side, device=device), torch.full((size,), side, device=device)
    with torch.inference_mode():
        for count in (2, batches):
            began = _clock()
            for _ in range(count):
                network(pixels, lengths)
            seconds = _clock() - began
    return size * batches / seconds


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Prints pictures a second and their share of forward alone; exits with 1 where there is no GPU."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="vit_b_16")
    parser.add_argument("--smoke", action="store_true")
    for name, value in {"rows": 4096, "px": 500, "workers": 8, "runs": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    if not args.smoke and not torch.cuda.is_available():
        sys.exit("gpu_extract: torch sees no CUDA device here, so nothing was measured; --smoke runs it on a CPU")
    if args.smoke:
        args.network, args.rows, args.px, args.runs = "squeezenet1_1", 40, 120, 1
    where = "CPU, smoke test: no figure here means anything" if args.smoke else torch.cuda.get_device_name()
    print(
        f"{machine('torch', 'torchvision', 'simplejpeg')}; {where}; {args.network}, {args.rows} JPEGs of {args.px} px"
    )
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        weights = folder / "weights.safetensors"
        save_file(torchvision.models.get_model(args.network, weights=None).state_dict(), weights)
        (folder / "pictures").mkdir()
        manifest = write_pictures(folder / "pictures", args.rows, args.px)
        settings = [f"encoders.image=torchvision:{args.network}@{weights}", "extract.shard_rows=512"]
        report(manifest, load_config({}, settings), folder / "store", args)


def report(manifest: Path, config: RunConfig, work: Path, args: argparse.Namespace) -> None:
    """Measures and prints."""
    store = Store(work)
    store.prepare()
    began = time.perf_counter()
    clean = ingest(scan(config, store, manifest), config, store)
    ingest_s = time.perf_counter() - began
    shards = plan_shards(clean, config, store)
    forward = median([time_forward(shards[0], 2 if args.smoke else 16) for _ in range(args.runs)])
    print(f"forward alone       {forward:9,.1f} pictures/s")
    print(f"ingest              {args.rows / ingest_s:9,.1f} pictures/s")
    for workers in (1, args.workers):
        taken = []
        for _ in range(args.runs):
            began = time.perf_counter()
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(lambda shard: extract_shard(shard, store), shards))
            taken.append(time.perf_counter() - began)
        rate, whole = args.rows / median(taken), args.rows / (median(taken) + ingest_s)
        print(
            f"extract, {workers} at a time {rate:9,.1f} pictures/s, {rate / forward:.0%} of forward alone; "
            f"with decoding {whole:,.1f}, {whole / forward:.0%} (goal {GOAL:.0%})"
        )


if __name__ == "__main__":
    main()
