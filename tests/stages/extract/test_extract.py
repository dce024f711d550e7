"""Extraction: only what is missing is planned and computed, and what is damaged is computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from data_contracts.refs import CleanRef
from data_contracts.tables import features_schema
from tasks import part_index
from tasks.config import RunConfig, load_config
from tasks.errors import EnvironmentFailed
from tasks.extract.extract import (
    collect_features,
    extract_shard,
    features_fingerprint,
    features_kind,
    plan_shards,
    sample_digests,
    stored_digests,
)
from tasks.extract.shards import SHARD_VALUES, cut_evenly
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.media.media_store import MediaReader, media_index
from tasks.store import Store, digest_json
from tests.support.data import TINY

MakeData = Callable[..., Path]


def _clean(path: Path, config: RunConfig, store: Store) -> CleanRef:
    return ingest(scan(config, store, path), config, store)


def _extract(clean: CleanRef, config: RunConfig, store: Store) -> dict[str, tuple[int, int]]:
    """(computed, reused) per modality."""
    shards = plan_shards(clean, config, store)
    for shard in shards:
        extract_shard(shard, store)
    return {name: (ref.computed, ref.reused) for name, ref in collect_features(clean, config, store, shards).items()}


def test_features_are_those_of_each_samples_own_media(make_data: MakeData, store: Store) -> None:
    """Pictures that have the encoder's side already, the texts' bytes, and tones whose pitch the loudest band tells."""
    config = load_config({}, [*TINY, "runtime.workers=1", "media.timeout_s=600", "extract.image_px=16"])
    path = make_data(4)
    pitches_hz = [400, 800, 1600, 3200]
    for number, pitch_hz in enumerate(pitches_hz):
        tone = 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(800) / 8000)
        soundfile.write(path.parent / f"snd/{number}.wav", tone, 8000)
    clean = _clean(path, config, store)
    shards = plan_shards(clean, config, store)
    assert sorted(shard.modality for shard in shards) == ["audio", "image", "text"]
    features: dict[str, dict[str, np.ndarray]] = {}
    for shard in shards:
        table = pq.read_table(store.path(extract_shard(shard, store)))
        dtype = {"audio": "float32"}.get(shard.modality, "uint8")
        assert table.schema.equals(features_schema(dtype))
        rows = table.to_pylist()
        features[shard.modality] = {
            row["digest"]: np.asarray(row["values"], dtype).reshape(row["shape"]) for row in rows
        }
    samples = {row["id"]: row for row in pq.read_table(store.path(clean.uri) / "samples.parquet").to_pylist()}
    centres = np.linspace(0, _mel(8000), 66)[1:-1]  # 64 bands up to half of 16 kHz
    for number, pitch_hz in enumerate(pitches_hz):
        image, text, audio = (features[name][samples[f"s{number}"][name]] for name in ("image", "text", "audio"))
        assert image.tolist() == np.asarray(Image.open(path.parent / f"img/{number}.png")).tolist()
        assert bytes(text) == f"words of {number}".encode()
        assert audio.shape == (8, 64), "windows of 25 ms every 10 ms in 0.1 s"
        loudest = np.abs(audio.mean(axis=0).argmax() - np.abs(centres - _mel(pitch_hz)).argmin())
        assert loudest <= 1, f"{pitch_hz} Hz"


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def test_only_what_is_missing_is_planned(make_data: MakeData, config: RunConfig, store: Store) -> None:
    clean = _clean(make_data(6), config, store)
    assert _extract(clean, config, store) == {"image": (6, 0), "text": (6, 0), "audio": (6, 0)}
    assert plan_shards(clean, config, store) == []
    assert _extract(clean, config, store) == {"image": (0, 6), "text": (0, 6), "audio": (0, 6)}
    more = _clean(make_data(8, change=lambda row, n: row | ({"audio_path": ""} if n == 7 else {})), config, store)
    assert _extract(more, config, store) == {"image": (2, 6), "text": (2, 6), "audio": (1, 6)}
    smaller = load_config({}, [*TINY, "runtime.workers=1", "extract.image_px=16"])
    assert _extract(more, smaller, store) == {"image": (8, 0), "text": (0, 8), "audio": (0, 7)}


def test_shards_are_bounded_cover_each_medium_once_and_follow_the_store(make_data: MakeData, store: Store) -> None:
    config = load_config({}, [*TINY, "runtime.workers=1", "extract.shard_rows=1"])
    clean = _clean(make_data(50), config, store)
    shards = plan_shards(clean, config, store)
    assert 20 <= len(shards) <= 32
    for modality in clean.modalities:
        planned = [
            digest for shard in shards if shard.modality == modality for digest in shard.read_digests(store).to_pylist()
        ]
        samples = pq.read_table(store.path(clean.uri) / "samples.parquet")[modality].to_pylist()
        assert len(planned) == len(set(planned))
        assert set(planned) == set(samples)
        (part,) = MediaReader(store, modality, clean.media[modality])._parts
        assert planned == pq.read_table(store.path(part))["digest"].to_pylist()
    assert plan_shards(clean, config, store) == shards


def test_a_shard_names_its_media_by_a_list_in_the_store(make_data: MakeData, config: RunConfig, store: Store) -> None:
    clean = _clean(make_data(40), config, store)
    shard = plan_shards(clean, config, store)[0]
    digests = shard.read_digests(store).to_pylist()
    assert shard.rows == len(digests) == 40
    assert shard.key == digest_json([shard.fingerprint, digests])
    assert not any(digest in shard.model_dump_json() for digest in digests)
    path = store.path(shard.digests)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(EnvironmentFailed, match=r"list of media .* damaged; run again"):
        shard.read_digests(store)
    path.unlink()
    with pytest.raises(EnvironmentFailed, match=r"list of media .* gone; run again"):
        shard.read_digests(store)
    assert plan_shards(clean, config, store)[0].read_digests(store).to_pylist() == digests


def test_shards_grow_with_the_square_root_of_the_media() -> None:
    counts = {}
    for media in (1_000, 20_000, 60_000, 1_000_000, 4_000_000, 100_000_000):
        shards = cut_evenly({"text": np.ones(media, np.int8)}, 512)["text"]
        counts[media] = len(shards)
        assert [first for first, _ in shards] == [0, *(last for _, last in shards[:-1])]
        assert shards[-1][1] == media
    assert counts == {1_000: 2, 20_000: 31, 60_000: 31, 1_000_000: 125, 4_000_000: 250, 100_000_000: 1250}


def test_shards_of_large_media_are_bounded_in_values() -> None:
    large = SHARD_VALUES // 3
    values = np.array([large] * 7 + [2 * SHARD_VALUES] + [1] * 5)
    assert cut_evenly({"video": values, "text": np.empty(0, np.int64)}, 100) == {
        "video": [(0, 3), (3, 6), (6, 7), (7, 8), (8, 13)],
        "text": [],
    }


def test_a_damaged_part_is_set_aside_and_computed_again(make_data: MakeData, config: RunConfig, store: Store) -> None:
    clean = _clean(make_data(6), config, store)
    before = {name: ref.sha256 for name, ref in _refs(clean, config, store).items()}
    (part,) = store.root.glob("features/audio/*/*.parquet")
    intact = part.read_bytes()
    part.write_bytes(intact[:-1] + b"?")
    assert [shard.modality for shard in plan_shards(clean, config, store)] == ["audio"]
    assert not part.exists()
    with pytest.raises(EnvironmentFailed, match="audio features: 6 of 6 are missing"):
        collect_features(clean, config, store, [])
    assert _extract(clean, config, store)["audio"] == (6, 0)
    assert part.read_bytes() == intact
    assert {name: ref.sha256 for name, ref in _refs(clean, config, store).items()} == before


def _refs(clean: CleanRef, config: RunConfig, store: Store) -> dict:
    _extract(clean, config, store)
    return collect_features(clean, config, store, [])


def test_media_that_are_gone_say_what_to_do(make_data: MakeData, config: RunConfig, store: Store) -> None:
    clean = _clean(make_data(3), config, store)
    shard = next(shard for shard in plan_shards(clean, config, store) if shard.modality == "image")
    for part in store.root.glob("media/image/*/*.parquet"):
        part.unlink()
    with pytest.raises(
        EnvironmentFailed, match="3 of 3 media are gone from the store; run it again with --refresh ingest"
    ):
        extract_shard(shard, store)


def test_a_large_shard_becomes_several_parts(
    make_data: MakeData, config: RunConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = _clean(make_data(7), config, store)
    monkeypatch.setattr("tasks.extract.extract.PART_BYTES", 2 * 32 * 32 * 3)
    assert _extract(clean, config, store)["image"] == (7, 0)
    [place] = (store.root / "features/image").iterdir()
    assert sorted(pq.read_table(path).num_rows for path in place.iterdir()) == [1, 2, 2, 2]


def test_what_is_looked_for_is_found_among_all_that_is_stored(
    make_data: MakeData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of three rows, some of which are not full: the last one, and that of parts of two."""
    monkeypatch.setattr(part_index, "_BATCH_ROWS", 3)
    config = load_config(
        {}, [*TINY, "runtime.workers=1", "extract.shard_rows=2", "encoders.audio=off", "encoders.text=off"]
    )
    clean = _clean(make_data(9), config, store)
    _extract(clean, config, store)
    every = sample_digests(clean, "image", store)
    fingerprint = features_fingerprint("image", clean.media["image"], config)
    assert len(store.parts(features_kind("image", fingerprint))) > 3
    for wanted in ([], every[:1], every[1::3], every):
        assert stored_digests("image", fingerprint, store, [*wanted, "0" * 64]) == set(wanted)
        found = media_index(store, "image", clean.media["image"], ("digest", "source"), pa.array(wanted, pa.string()))
        assert sorted(found["digest"].to_pylist()) == sorted(wanted)
        assert found.column_names == ["digest", "source"]
    assert len(media_index(store, "image", clean.media["image"], ("digest",))) == 9
