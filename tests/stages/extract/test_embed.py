"""Features of frozen encoders: each row what the network itself gives, whatever it was computed beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
import transformers
from safetensors.torch import save_file

from data_contracts.tables import FEATURES_KEY
from tasks.config import load_config
from tasks.extract.extract import collect_features, extract_shard, features_fingerprint, plan_shards
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.media.encoder_inputs import square
from tasks.media.media_store import MediaReader
from tasks.modalities import MODALITIES
from tasks.modeling import embed as embedding
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.store import Store, digest_file
from tests.support.data import TINY

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
    overrides = ["runtime.workers=1", "encoders.text=off", "encoders.audio=off", "encoders.image_px=48"]
    config = load_config({}, [*TINY, *overrides, f"encoders.image=torchvision:squeezenet1_1@{path}"])
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


def test_a_part_says_what_made_it(make_data: MakeData, network: tuple[torch.nn.Module, Path], store: Store) -> None:
    config = load_config({}, [*TINY, "runtime.workers=1", f"encoders.image=torchvision:squeezenet1_1@{network[1]}"])
    clean = ingest(scan(config, store, make_data(3)), config, store)
    (shard,) = [shard for shard in plan_shards(clean, config, store) if shard.modality == "image"]
    path = store.path(extract_shard(shard, store))
    schema = pq.read_schema(path)
    width = 512
    assert schema.field("values").type == pa.list_(pa.float32(), width)
    about = json.loads(schema.metadata[FEATURES_KEY])
    assert (about["name"], about["shape"], about["dtype"]) == ("squeezenet1_1", [width], "float32")
    assert about["weights_sha256"] == digest_file(network[1])
    assert (about["fingerprint"], about["version"]) == (shard.fingerprint, version("crossmodal"))
    assert str(network[1].parent) not in str(schema.metadata), "what is shared names no place of this machine"


def test_other_weights_are_other_features(make_data: MakeData, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    config = load_config({}, [*TINY, "runtime.workers=1", f"encoders.image=torchvision:squeezenet1_1@{path}"])
    clean = ingest(scan(config, store, make_data(3)), config, store)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_file(torchvision.models.get_model("squeezenet1_1").state_dict(), path)
        (shard,) = (shard for shard in plan_shards(clean, config, store) if shard.modality == "image")
        found.append(pq.read_table(store.path(extract_shard(shard, store)))["values"].to_pylist())
    assert len(found[0]) == len(found[1]) == 3
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize(
    ("encoder", "stages"),
    [
        ("tiny", ("tiny_inputs",)),
        ("torchvision:resnet18@random", ("pretrained_inputs",)),
        ("torchvision:squeezenet1_1@{}", ("pretrained_inputs", "embeddings")),
    ],
)
def test_the_code_that_shapes_features_is_known(
    encoder: str, stages: tuple[str, ...], network: tuple[torch.nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr("tasks.extract.extract.code_fingerprint", lambda *arguments, **_: seen.append(arguments))
    features_fingerprint("image", "x", load_config({}, [*TINY, f"encoders.image={encoder.format(network[1])}"]))
    assert seen == [stages]


def test_sound_and_text_are_embedded_whatever_lies_beside_them(
    make_data: MakeData, store: Store, bert: Path, tmp_path: Path
) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    convs = {"conv_dim": (16, 16), "conv_kernel": (10, 4), "conv_stride": (5, 4), "num_feat_extract_layers": 2}
    torch.manual_seed(0)
    folder = tmp_path / "speech"
    places = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**small, **convs, **places)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    overrides = ["runtime.workers=1", "encoders.image=off", f"encoders.audio=hf:{folder}", f"encoders.text=hf:{bert}"]
    config = load_config({}, [*TINY, *overrides])

    def longer(row: dict[str, Any], number: int) -> dict[str, Any]:
        return row | {"text": "words " * (number + 1)}

    found: list[dict[str, np.ndarray]] = []
    for rows in (3, 7):  # the first three are computed alone, and once more among seven
        place = Store(tmp_path / f"store{rows}")
        place.prepare()
        clean = ingest(scan(config, place, make_data(rows, change=longer)), config, place)
        parts = [place.path(extract_shard(shard, place)) for shard in plan_shards(clean, config, place)]
        table = [row for part in parts for row in pq.read_table(part).to_pylist()]
        found.append({row["digest"]: np.array(row["values"]) for row in table})
        refs = collect_features(clean, config, place, [])
        assert {name: ref.dtype for name, ref in refs.items()} == {"text": "float32", "audio": "float32"}
    assert (len(found[0]), len(found[1])) == (6, 14)
    for digest, vector in found[0].items():
        np.testing.assert_allclose(found[1][digest], vector, atol=1e-5)


def test_clips_are_embedded_frame_by_frame(
    make_data: MakeData, make_clip: Callable[..., bytes], store: Store, network: tuple[torch.nn.Module, Path]
) -> None:
    def with_clip(row: dict[str, Any], number: int) -> dict[str, Any]:
        (Path(store.root).parent / "data" / f"{number}.mp4").write_bytes(make_clip(2 + number))
        return {"id": row["id"], "label": row["label"], "video": f"{number}.mp4"}

    overrides = ["runtime.workers=1", f"encoders.video=torchvision:squeezenet1_1@{network[1]}", "encoders.image_px=40"]
    config = load_config({}, [*TINY, *overrides])
    clean = ingest(scan(config, store, make_data(3, change=with_clip)), config, store)
    (shard,) = plan_shards(clean, config, store)
    rows = pq.read_table(store.path(extract_shard(shard, store))).to_pylist()
    reader = MediaReader(store, "video", clean.media["video"])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for row in rows:
        frames = np.stack([square(frame, 40) for frame in reader.get(row["digest"])])
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            expected = network[0].features((pixels - mean) / std).relu().mean(dim=(0, 2, 3))
        np.testing.assert_allclose(row["values"], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("longest", [3, 40, 700])
def test_batches_of_texts_hold_few_tokens_and_every_text_once(longest: int) -> None:
    lengths = np.random.default_rng(0).integers(1, longest + 1, 2500)
    inputs = [(str(row), np.zeros(length, np.int32)) for row, length in enumerate(lengths)]
    spec = EncoderSpec(encoder="hf:bert", reads="embedding")
    batches = list(embedding._batches("text", spec, inputs, 1))
    assert sorted(int(name) for batch in batches for name, _ in batch) == list(range(2500))
    padded = [len(batch) * max(len(ids) for _, ids in batch) for batch in batches]
    assert all(size <= embedding.TOKENS or len(batch) == 1 for size, batch in zip(padded, batches, strict=True))
    assert sum(padded) < 1.1 * sum(lengths)
    classical = list(embedding._batches("text", spec.model_copy(update={"encoder": "classical"}), inputs, 1))
    assert max(map(len, classical)) == MODALITIES["text"].batch_rows
