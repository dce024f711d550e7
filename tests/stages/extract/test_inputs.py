"""What trained encoders read, by value."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.config import EncodersConfig, RunConfig, load_config
from tasks.extract.extract import collect_features, extract_shard, features_fingerprint, plan_shards
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.media.encoder_inputs import square
from tasks.modeling.encoder_reading import preparer
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.store import Store
from tests.support.data import TINY

MakeData = Callable[..., Path]
PARAMS: dict[str, Any] = {"image_px": None, "video_px": None, "max_tokens": 8}


def spec(**settings: Any) -> EncoderSpec:
    return EncoderSpec(encoder="hf:x", reads="inputs", settings=settings)


def test_pictures_and_frames_get_the_encoders_side_unless_another_is_stored() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    own = preparer("image", spec(px=24, resample=3), PARAMS)(picture, 0)
    assert np.array_equal(own, square(picture, 24, 3))
    assert not np.array_equal(own, square(picture, 24, 2))
    assert preparer("image", spec(px=24, resample=3), PARAMS | {"image_px": 16})(picture, 0).shape == (16, 16, 3)
    clip = preparer("video", spec(px=20, resample=2), PARAMS)(np.stack([picture] * 3), 0)
    assert np.array_equal(clip, np.stack([square(picture, 20, 2)] * 3))


def test_sound_is_brought_to_the_encoders_rate() -> None:
    prepare = preparer("audio", spec(rate_hz=16_000), PARAMS)
    pcm = (20_000 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)).astype(np.int16)
    assert np.array_equal(prepare(pcm, 16_000), pcm)
    faster = prepare(pcm, 8000)
    assert (faster.dtype, len(faster)) == (np.int16, 1600)
    expected = 20_000 * np.sin(2 * np.pi * 440 * np.arange(1600) / 16_000)
    assert np.abs(faster - expected)[200:1400].max() < 200


def test_texts_are_cut_into_the_encoders_tokens(bert: Path) -> None:
    described = describe_encoder("text", f"hf:{bert}", "full", EncodersConfig())
    prepare = preparer("text", described, PARAMS)
    assert prepare("it is low", 0).tolist() == [2, 9, 10, 11, 3]
    assert prepare("words of a b words of a b", 0).tolist() == [2, 5, 6, 7, 8, 5, 6, 3]
    assert prepare("", 0).tolist() == [2, 3]
    endless = preparer("text", described, PARAMS | {"max_tokens": 500})
    assert len(endless("a " * 300, 0)) == 64  # the network has no place for more
    texts = [" ".join(["low"] * (n % 12)) for n in range(400)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(lambda text: prepare(text, 0).tolist(), texts))
    assert found == [prepare(text, 0).tolist() for text in texts]


@pytest.fixture
def trained(bert: Path) -> RunConfig:
    overrides = ["runtime.workers=1", "train.regime=full", f"encoders.text=hf:{bert}", "encoders.image_px=48"]
    return load_config({}, [*TINY, *overrides, "encoders.image=torchvision:resnet18@random"])


def test_inputs_are_stored_once_per_medium(make_data: MakeData, store: Store, trained: RunConfig) -> None:
    clean = ingest(scan(trained, store, make_data(4)), trained, store)
    for shard in plan_shards(clean, trained, store):
        extract_shard(shard, store)
    refs = collect_features(clean, trained, store, [])
    assert {name: ref.dtype for name, ref in refs.items()} == {"image": "uint8", "text": "int32", "audio": "float32"}
    (image,) = (pq.read_table(store.path(part)) for part in refs["image"].parts)
    assert image["shape"].to_pylist() == [[48, 48, 3]] * 4
    (text,) = (pq.read_table(store.path(part)) for part in refs["text"].parts)
    assert sorted(text["values"].to_pylist()) == [[2, 5, 6, 1, 3]] * 4


def test_inputs_follow_tokenizer_and_side_but_not_the_weights(bert: Path, trained: RunConfig) -> None:
    def prints() -> dict[str, str]:
        return {name: features_fingerprint(name, "m", trained) for name in ("image", "text")}  # type: ignore[arg-type]

    first = prints()
    weights = bert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"00")
    assert prints() == first
    (bert / "tokenizer_config.json").write_text("{}")
    assert prints()["text"] != first["text"]
    frozen = load_config({}, [*TINY, f"encoders.text=hf:{bert}"])
    assert features_fingerprint("text", "m", frozen) not in (first["text"], prints()["text"])
