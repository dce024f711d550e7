"""Pictures to vectors in Parquet, against the folded network alone and against pipelines of transformers."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    ConvNextImageProcessor,
    MobileNetV2Config,
    MobileNetV2Model,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    pipeline,
)

from benchmarks.extraction.jpegs import make_jpegs
from benchmarks.extraction.timing import Row, in_turns
from tasks.config import load_config
from tasks.extract.extract import extract_shard, plan_shards
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.media.image import decode_image
from tasks.modalities import MODALITIES
from tasks.modeling.pretrained.describe import complete_encoder
from tasks.modeling.pretrained.weights import frozen_encoder
from tasks.store import Store


def measure(weights: Path, network: str, rows: int, rounds: int) -> Iterator[Row]:
    """Rows of a torchvision network; without its file of weights random ones, which are as fast."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        file = weights / f"{network}-imagenet.safetensors"
        if not file.is_file():
            file = folder / "random.safetensors"
            save_file(torchvision.models.get_model(network, weights=None).state_dict(), file)
        yield from _measure(folder, file.absolute(), network, rows, rounds)


def _measure(folder: Path, weights: Path, network: str, rows: int, rounds: int) -> Iterator[Row]:
    files, manifest = _write(folder / "pictures", rows)
    config = load_config({}, [f"encoders.image=torchvision:{network}@{weights}"])
    store = Store(folder / "store")
    store.prepare()
    clean = ingest(scan(config, store, manifest), config, store)
    (shard,) = plan_shards(clean, config, store)
    spec = complete_encoder("image", shard.encoder, shard.identity)
    bare: Any = frozen_encoder("image", spec).get_submodule("network")
    paths = [str(path) for path in sorted((folder / "pictures").glob("*.jpg"))]
    pipe: Any = pipeline(
        "image-feature-extraction", model=_of_transformers(network), image_processor=_processor(), device="cpu"
    )
    limits = config.media.model_dump()
    with ThreadPoolExecutor(os.cpu_count() or 1, initializer=partial(torch.set_num_threads, 1)) as workers:
        costs = in_turns(
            {
                "extract": lambda: extract_shard(shard, store),
                "forward": _forward(bare, rows, int(spec.settings["px"]), workers),
                "decode": lambda: [decode_image(data, limits) for data in files],
                "one": lambda: [pipe(path, pool=True) for path in paths],
                "batched": lambda: pipe(paths, pool=True, batch_size=MODALITIES["image"].batch_rows),
            },
            rounds,
        )
    whole = costs["extract"] + costs["decode"]
    alone = "the folded network alone, on ready tensors"
    yield Row(f"{network}, stored pictures to Parquet", alone, costs["extract"], costs["forward"], rows, 0.95)
    yield Row(f"{network}, JPEGs to Parquet", alone, whole, costs["forward"], rows, 0.95)
    yield Row(f"{network}, JPEGs to Parquet", "`pipeline()`, one by one", whole, costs["one"], rows, 2.3)
    yield Row(f"{network}, JPEGs to Parquet", "`pipeline()`, batched", whole, costs["batched"], rows, 1.3)


def _write(folder: Path, rows: int) -> tuple[list[bytes], Path]:
    folder.mkdir()
    files = make_jpegs(rows)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "label"])
        for row, data in enumerate(files):
            (folder / f"{row}.jpg").write_bytes(data)
            writer.writerow([row, f"{row}.jpg", "ab"[row % 2]])
    return files, manifest


def _forward(network: nn.Module, rows: int, px: int, workers: ThreadPoolExecutor) -> Callable[[], list[Tensor]]:
    """The network on as many ready pictures, in the batches and on the threads that extraction has."""
    size = MODALITIES["image"].batch_rows
    starts = range(0, rows, size)
    batches = [
        torch.rand(min(size, rows - start), 3, px, px).contiguous(memory_format=torch.channels_last) for start in starts
    ]

    def look(batch: Tensor) -> Tensor:
        """(B, width)"""
        with torch.inference_mode():
            found: Tensor = network(batch)
        return found

    return lambda: list(workers.map(look, batches))


def _of_transformers(network: str) -> PreTrainedModel:
    """The same architecture as transformers has it, with random weights."""
    if network == "mobilenet_v2":
        return MobileNetV2Model(MobileNetV2Config()).eval()
    sizes = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
    config = ResNetConfig(layer_type="basic", depths=list(sizes[network]), hidden_sizes=[64, 128, 256, 512])
    return ResNetModel(config).eval()


def _processor() -> ConvNextImageProcessor:
    """Scaled and cut to 224 px, as torchvision's weights are evaluated."""
    return ConvNextImageProcessor(size={"shortest_edge": 224})
