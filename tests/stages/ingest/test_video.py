"""Clips as a modality of a manifest: by column, by folder, inline, and their sound where it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config import load_config
from tasks.extract.extract import collect_features, extract_shard, plan_shards
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.media.media_store import MediaReader
from tasks.modeling.features import FeatureTable
from tasks.store import Store
from tests.support.data import TINY, write_picture

MakeClip = Callable[..., bytes]
SOUND = "media.audio_from_video=true"


def _write(folder: Path, make_clip: MakeClip, header: str, rows: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(3):
        sound_s = 0.0 if number == 2 else 0.2 + 0.1 * number
        (folder / f"{number}.mp4").write_bytes(make_clip(3 + number, sound_s=sound_s))
    (folder / "3.mp4").write_bytes(b"not a clip")
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]))
    return path


def test_a_column_of_clips_becomes_features(tmp_path: Path, make_clip: MakeClip, run_ingest: Any, store: Store) -> None:
    rows = [f"s{n},{n}.mp4,{'ab'[n % 2]}" for n in range(4)]
    path = _write(tmp_path / "data", make_clip, "id,video_path,label", rows)
    done = run_ingest(path)
    assert done.reasons == {"s3": "unreadable-video"}
    assert done.raw.modalities == done.clean.modalities == ("video",)
    assert all(row["video"] and row["audio"] is None for row in done.samples.values())
    config = load_config({}, TINY)
    shards = plan_shards(done.clean, config, store)
    assert [shard.rows for shard in shards] == [3]
    for shard in shards:
        extract_shard(shard, store)
    features = collect_features(done.clean, config, store, shards)
    table = FeatureTable.load(store, features["video"])
    assert sorted(table.lengths) == [3, 4, 5]
    assert table.values.shape == (12, 32, 32, 3)
    assert plan_shards(done.clean, config, store) == []


def test_a_switched_off_modality_is_not_decoded(tmp_path: Path, make_clip: MakeClip, run_ingest: Any) -> None:
    rows = [f"s{n},{n}.mp4,words {n},{'ab'[n % 2]}" for n in range(4)]
    path = _write(tmp_path / "data", make_clip, "id,video,text,label", rows)
    assert run_ingest(path, "encoders.video=off").clean.modalities == ("text",)
    assert run_ingest(path).clean.modalities == ("text", "video")


@pytest.mark.parametrize("column", [True, False])
def test_the_sound_of_a_clip_is_its_audio_where_that_is_wanted(
    tmp_path: Path, make_clip: MakeClip, run_ingest: Any, column: bool
) -> None:
    rows = [f"s{n},{n}.mp4,{'ab'[n % 2]}{',' if column else ''}" for n in range(4)]
    path = _write(tmp_path / "data", make_clip, "id,video,label" + (",audio" if column else ""), rows)
    assert run_ingest(path).clean.modalities == ("video",)
    done = run_ingest(path, SOUND)
    assert done.clean.modalities == ("audio", "video")
    assert done.reasons == {"s3": "unreadable-audio"}
    assert {id: row["audio"] is not None for id, row in done.samples.items()} == {"s0": True, "s1": True, "s2": False}
    assert run_ingest(path, SOUND, "encoders.audio=off").clean.modalities == ("video",)


def test_a_sound_of_ones_own_goes_first(tmp_path: Path, make_clip: MakeClip, run_ingest: Any) -> None:
    rows = ["s0,0.mp4,a,", "s1,1.mp4,b,0.mp4", "s2,2.mp4,a,2.mp4"]
    path = _write(tmp_path / "data", make_clip, "id,video,label,audio", rows)
    done = run_ingest(path, SOUND)
    assert done.samples["s0"]["audio"] == done.samples["s1"]["audio"]
    assert done.reasons == {}


def test_clips_inside_a_parquet_file_and_in_folders(tmp_path: Path, make_clip: MakeClip, run_ingest: Any) -> None:
    clips = [make_clip(n + 2, sound_s=0.2) for n in range(3)]
    (tmp_path / "inline").mkdir()
    table = pa.table({"id": ["a", "b", "c"], "video": clips, "label": ["x", "y", "x"]})
    pq.write_table(table, tmp_path / "inline/manifest.parquet")
    done = run_ingest(tmp_path / "inline/manifest.parquet", SOUND)
    assert done.reasons == {}
    assert done.clean.modalities == ("audio", "video")
    for number, clip in enumerate(clips):
        place = tmp_path / "folders" / "xyx"[number] / f"{number}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(clip)
    found = run_ingest(tmp_path / "folders")
    assert {row["video"] for row in found.samples.values()} == {row["video"] for row in done.samples.values()}


@pytest.mark.shared
def test_grid_mini_is_checked_and_extracted(shared_data: Path, store: Store) -> None:
    config = load_config({}, [*TINY, "data.min_class_rows=1"])
    clean = ingest(scan(config, store, shared_data / "grid_mini" / "manifest.csv"), config, store)
    assert (clean.counts.used, clean.modalities) == (10, ("text", "audio", "video"))
    shards = plan_shards(clean, config, store)
    for shard in shards:
        extract_shard(shard, store)
    features = collect_features(clean, config, store, shards)
    assert FeatureTable.load(store, features["video"]).values.shape == (80, 32, 32, 3)


FRAME = "media.image_from_video=true"


def test_a_frame_of_the_clip_becomes_the_picture(
    tmp_path: Path, make_clip: MakeClip, run_ingest: Any, store: Store
) -> None:
    write_picture(tmp_path / "data/own.png", 1)
    rows = ["s0,0.mp4,a,", "s1,1.mp4,b,own.png", "s2,,a,own.png", "s3,3.mp4,b,"]
    done = run_ingest(_write(tmp_path / "data", make_clip, "id,video,label,image", rows), FRAME)
    assert done.clean.modalities == ("image", "video")
    assert done.samples["s1"]["image"] == done.samples["s2"]["image"] != done.samples["s0"]["image"]
    frame = MediaReader(store, "image", done.clean.media["image"]).get(done.samples["s0"]["image"])
    clip = MediaReader(store, "video", done.clean.media["video"]).get(done.samples["s0"]["video"])
    assert isinstance(frame, np.ndarray)
    assert frame.shape == (48, 64, 3)
    assert np.array_equal(frame, clip[1])  # the middle of three
    assert done.reasons == {"s3": "unreadable-image"}
    assert "nor a clip" in done.refused[0]["detail"]


def test_without_the_knob_a_clip_is_no_picture(tmp_path: Path, make_clip: MakeClip, run_ingest: Any) -> None:
    path = _write(tmp_path / "data", make_clip, "id,image,label,video", ["s0,0.mp4,a,", "s1,,b,1.mp4"])
    done = run_ingest(path)
    assert done.reasons == {"s0": "unreadable-image"}
    assert done.samples["s1"]["image"] is None


@pytest.mark.shared
def test_grid_mini_is_image_text_audio_and_video(shared_data: Path, store: Store) -> None:
    config = load_config({}, [*TINY, FRAME, "data.min_class_rows=1"])
    clean = ingest(scan(config, store, shared_data / "grid_mini" / "manifest.csv"), config, store)
    assert (clean.counts.used, clean.modalities) == (10, ("image", "text", "audio", "video"))
    shards = plan_shards(clean, config, store)
    for shard in shards:
        extract_shard(shard, store)
    assert collect_features(clean, config, store, shards)["image"].rows == 10
