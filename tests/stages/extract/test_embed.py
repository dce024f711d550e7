"""Features of frozen encoders: each row what the network itself gives, whatever it was computed beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from tasks.config import load_config
from tasks.extract.extract import collect_features, extract_shard, plan_shards
from tasks.extract.tiny import square
from tasks.ingest.ingest import ingest
from tasks.ingest.scan import scan
from tasks.media.packs import MediaReader
from tasks.store import Store

MakeData = Callable[..., Path]


@pytest.fixture
def network(tmp_path: Path) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    found = torchvision.models.get_model("squeezenet1_1")
    save_file(found.state_dict(), tmp_path / "weights.safetensors")
    return found.eval(), tmp_path / "weights.safetensors"


def test_embeddings_are_the_networks_own(
    make_data: MakeData, store: Store, network: tuple[torch.nn.Module, Path]
) -> None:
    model, path = network
    knobs = ["runtime.workers=1", "encoders.text=off", "encoders.audio=off", "encoders.image_px=48"]
    config = load_config({}, [*knobs, f"encoders.image=torchvision:squeezenet1_1@{path}"])
    clean = ingest(scan(config, store, make_data(5)), config, store)
    (shard,) = plan_shards(clean, config, store)
    rows = pq.read_table(store.path(extract_shard(shard, store))).to_pylist()
    assert plan_shards(clean, config, store) == []
    ref = collect_features(clean, config, store, [])["image"]
    assert (ref.dtype, ref.rows) == ("float32", 5)
    reader = MediaReader(store, "image", clean.media["image"])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for row in rows:
        pixels = torch.from_numpy(square(reader.get(row["digest"]), 48).copy()).permute(2, 0, 1) / 255
        with torch.inference_mode():
            expected = model.features(((pixels - mean) / std)[None]).relu().mean(dim=(2, 3))[0]
        assert row["shape"] == [512]
        np.testing.assert_allclose(row["values"], expected.numpy(), atol=1e-5)


def test_other_weights_are_other_features(make_data: MakeData, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    config = load_config({}, ["runtime.workers=1", f"encoders.image=torchvision:squeezenet1_1@{path}"])
    clean = ingest(scan(config, store, make_data(3)), config, store)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_file(torchvision.models.get_model("squeezenet1_1").state_dict(), path)
        (shard,) = (shard for shard in plan_shards(clean, config, store) if shard.modality == "image")
        found.append(pq.read_table(store.path(extract_shard(shard, store)))["values"].to_pylist())
    assert len(found[0]) == len(found[1]) == 3
    assert not np.allclose(found[0], found[1])
