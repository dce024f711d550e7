"""Data sets as the hub and Speech Commands ship them: shards, configurations, class names in schemas, list files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import UsageError
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import split_of_name
from tasks.ingest.sources.parquet_worker import class_names
from tests.support.data import write_picture, write_sound

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("validation_01.jsonl.gz", "val"),
        ("train.csv", "train"),
        ("train_noid.csv", None),
        ("trainer.csv", None),
        ("data-00000-of-00001.parquet", None),
    ],
)
def test_the_split_of_a_name(name: str, split: str | None) -> None:
    assert split_of_name(name) == split


def shard(path: Path, first: int, last: int, features: dict[str, Any] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(first, last)
    table = pa.table({"text": [f"text number {n}" for n in numbers], "label": [n % 3 for n in numbers]})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


NAMED = {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee", "cow"]}}


def test_shards_below_a_folder_with_class_names(tmp_path: Path, run_ingest: Any) -> None:
    shard(tmp_path / "data/train-00000-of-00002.parquet", 0, 30, NAMED)
    shard(tmp_path / "data/train-00001-of-00002.parquet", 30, 60, NAMED)
    shard(tmp_path / "data/test-00000-of-00001.parquet", 60, 90, NAMED)
    (tmp_path / "README.md").write_text("card")
    done = run_ingest(tmp_path, "split.near_duplicates=false")
    assert done.clean.labels == ("ant", "bee", "cow")
    assert (done.clean.splits["test"], done.clean.counts.used) == (30, 90)
    assert "classes of 'label' by the names in its schema: ant, bee, cow" in done.raw.notes
    below = run_ingest(tmp_path / "data", "split.near_duplicates=false").samples
    assert {row["table"] for row in below.values()} == {path.name for path in (tmp_path / "data").iterdir()}
    assert {name: row | {"table": f"data/{row['table']}"} for name, row in below.items()} == done.samples


def test_configurations_are_chosen(tmp_path: Path) -> None:
    for name in ("en", "fr"):
        shard(tmp_path / name / "train-00000-of-00001.parquet", 0, 3)
        shard(tmp_path / name / "test-00000-of-00001.parquet", 3, 6)
    with pytest.raises(
        UsageError,
        match=r"several sets of tables are named after splits \(en, fr\); choose one with --set data.config=en",
    ):
        open_manifest(tmp_path)
    found = open_manifest(tmp_path, ReadLimits(config="fr"))
    assert [(manifest.path.parent.name, split) for manifest, split in found] == [("fr", "test"), ("fr", "train")]
    with pytest.raises(UsageError, match="none of them is 'de'"):
        open_manifest(tmp_path, ReadLimits(config="de"))


def test_train_as_the_only_split_is_divided(tmp_path: Path, run_ingest: Any) -> None:
    shard(tmp_path / "train.parquet", 0, 90)
    done = run_ingest(tmp_path, "split.near_duplicates=false")
    assert all(done.clean.splits.values())
    assert "train is the only split and is divided" in done.raw.notes


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (NAMED, {"label": ["ant", "bee", "cow"]}),
        ({"tags": {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["a"]}}}, {"tags": ["a"]}),
        ({"label": {"_type": "ClassLabel", "names": [1]}}, {}),
        ({"label": {"_type": "ClassLabel"}}, {}),
        ({"label": []}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_class_names_of_a_schema(features: Any, names: dict[str, list[str]]) -> None:
    assert class_names({b"huggingface": json.dumps({"info": {"features": features}}).encode()}) == names
    assert class_names({b"huggingface": b"\xff["}) == {}


def test_ids_that_have_no_name(tmp_path: Path) -> None:
    table = pa.table({"label": [0, -1, 7], "tags": [[0], [], None]})
    features = {"label": NAMED["label"], "tags": {"feature": NAMED["label"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "m.parquet")
    ((manifest, _),) = open_manifest(tmp_path / "m.parquet")
    assert [row.values for row in manifest.rows] == [
        {"label": "ant", "tags": ["ant"]},
        {"label": None, "tags": []},
        {"label": 7, "tags": None},
    ]


def test_paths_of_a_column_without_any_bytes(tmp_path: Path, run_ingest: Any) -> None:
    for number in range(4):
        write_picture(tmp_path / f"img/{number}.png", number)
    cells = pa.array([{"bytes": None, "path": f"img/{number}.png"} for number in range(4)], STRUCT)
    pq.write_table(pa.table({"image": cells, "label": ["a", "b"] * 2}), tmp_path / "m.parquet")
    assert len(run_ingest(tmp_path / "m.parquet").samples) == 4
    outside = pa.array(
        [{"bytes": None, "path": path} for path in ("../x.png", "/etc/hostname", "img/0.png", None)], STRUCT
    )
    pq.write_table(pa.table({"id": list("abcd"), "image": outside, "label": ["a"] * 4}), tmp_path / "o.parquet")
    assert run_ingest(tmp_path / "o.parquet").reasons == {"a": "path-outside", "b": "path-outside", "d": "no-modality"}


def test_speech_commands(tmp_path: Path, run_ingest: Any) -> None:
    for number in range(12):
        write_sound(tmp_path / f"{('yes', 'no')[number % 2]}/{number // 2:08x}_nohash_0.wav", number)
    write_sound(tmp_path / "_background_noise_/noise.wav", 99)
    (tmp_path / "validation_list.txt").write_text("yes/00000004_nohash_0.wav\n./no/00000004_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("yes/00000005_nohash_0.wav\r\nno/00000005_nohash_0.wav")
    (tmp_path / "LICENSE").write_text("free")
    done = run_ingest(tmp_path)
    assert (done.clean.splits, done.clean.labels) == ({"train": 8, "val": 2, "test": 2}, ("no", "yes"))
    assert {row["group"] for row in done.samples.values()} == {f"{number:08x}" for number in range(6)}
    assert "splits are those of testing_list.txt and validation_list.txt" in done.raw.notes
    assert "_background_noise_: 1 files of noise are no class" in done.raw.notes
    assert "1 files beside the class folders are not read: LICENSE" in done.raw.notes
