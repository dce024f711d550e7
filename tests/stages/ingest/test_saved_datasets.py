"""Folders of datasets.save_to_disk, and Arrow files by themselves.

What `datasets` itself writes is read in test_written_by_peers.py; here pyarrow writes what it never does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

from tasks.errors import CrossmodalError, DataError, UsageError
from tasks.ingest.manifest.rows import Inline
from tasks.ingest.sources.detect import open_manifest
from tests.support.data import write_picture
from tests.support.layouts import STRUCT, ask_worker, save_to_disk, write_stream

FEATURES = {"label": {"_type": "ClassLabel", "names": ["ant", "bee"]}, "image": {"_type": "Image"}}
METADATA = {"huggingface": json.dumps({"info": {"features": FEATURES}})}


def texts(first: int, last: int) -> pa.Table:
    numbers = range(first, last)
    table = pa.table({"text": [f"text number {n}" for n in numbers], "label": [n % 2 for n in numbers]})
    return table.replace_schema_metadata(METADATA)


def test_splits_in_folders_with_class_names(tmp_path: Path, run_ingest: Any) -> None:
    save_to_disk(tmp_path / "train", texts(0, 30), texts(30, 50))
    save_to_disk(tmp_path / "test", texts(50, 60))
    save_to_disk(tmp_path / "unsupervised", texts(60, 70))
    write_stream(tmp_path / "train/cache-1.arrow", texts(0, 3))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test", "unsupervised"]}))
    done = run_ingest(tmp_path, "split.near_duplicates=false")
    assert (done.clean.counts.used, done.clean.splits["test"], done.clean.labels) == (60, 10, ("ant", "bee"))
    assert "splits that are neither train, val nor test are not read: unsupervised" in done.raw.notes
    assert "Arrow files that state.json does not name are not read: cache-1.arrow" in done.raw.notes
    assert "saved by datasets: 2 Arrow files of train" in done.raw.notes


def test_pictures_inside_and_as_paths(tmp_path: Path, run_ingest: Any) -> None:
    for number in range(6):
        write_picture(tmp_path / f"img/{number}.png", number)
    inside = [{"bytes": (tmp_path / f"img/{n}.png").read_bytes(), "path": "x.png"} for n in range(3)]
    outside = [{"bytes": None, "path": f"img/{n}.png"} for n in range(3, 6)]
    labels = ["a", "b", "a"]
    save_to_disk(tmp_path / "saved", pa.table({"image": pa.array(inside, STRUCT), "label": labels}))
    assert len(run_ingest(tmp_path / "saved").samples) == 3
    write_stream(tmp_path / "paths.arrow", pa.table({"image": pa.array(outside, STRUCT), "label": labels}))
    assert len(run_ingest(tmp_path / "paths.arrow").samples) == 3


def test_the_file_format_packed_and_a_column_of_pandas_categories(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "label": pa.array(["x", None]).dictionary_encode(), "image": [b"p", None]})
    pyarrow.feather.write_feather(table, str(tmp_path / "m.feather"), compression="lz4")
    ((manifest, _),) = open_manifest(tmp_path / "m.feather")
    rows = [row.values for row in manifest.rows]
    assert rows[1] == {"text": "b", "label": None, "image": None}
    assert isinstance(rows[0]["image"], Inline)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "data-00001-of-00002.arrow").unlink(), "no Arrow file of that name lies there"),
        (lambda folder: (folder / "state.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "state.json").write_text("[]"), "a JSON object is expected"),
        (lambda folder: (folder / "state.json").write_text("{}"), "it names no files"),
        (
            lambda folder: (folder / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}'),
            "'../x.arrow'",
        ),
        (lambda folder: (folder / "state.json").write_text('{"_indices_data_files": [1]}'), "by a file of indices"),
    ],
)
def test_a_folder_that_is_not_whole(tmp_path: Path, change: Any, words: str) -> None:
    folder = save_to_disk(tmp_path / "one", texts(0, 3), texts(3, 6))
    change(folder)
    with pytest.raises(DataError, match=words.replace("(", r"\(")) as caught:
        open_manifest(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(("splits", "words"), [(["a", "b"], "none of its splits"), (["train"], "no such folder")])
def test_splits_that_are_not_there(tmp_path: Path, splits: list[str], words: str) -> None:
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    for name in set(splits) - {"train"}:
        save_to_disk(tmp_path / name, texts(0, 3))
    with pytest.raises(CrossmodalError, match=words) as caught:
        open_manifest(tmp_path)
    assert isinstance(caught.value, UsageError if "none" in words else DataError)


def test_what_is_not_what_it_declares(tmp_path: Path) -> None:
    whole = write_stream(tmp_path / "whole.arrow", texts(0, 20)).read_bytes()
    nulls = pa.RecordBatch.from_arrays([pa.nulls(10**8)], names=["label"])
    write_stream(tmp_path / "nulls.arrow", pa.Table.from_batches([nulls]), 10**8)
    for name, data, words in (
        ("cut.arrow", whole[:-8], "it ends before its end mark"),
        ("half.arrow", whole[: len(whole) // 2], ""),
        ("more.arrow", whole + whole, "what follows is not read"),
        ("old.arrow", b"FEA1" + bytes(40), "version 1 of Feather"),
        ("nulls.arrow", (tmp_path / "nulls.arrow").read_bytes(), "declares 100000000 rows"),
        ("large.arrow", whole, "the limit is data.max_manifest_mb"),
    ):
        (tmp_path / name).write_bytes(data)
        head, _ = ask_worker(tmp_path / name, manifest_mb=1e-4 if name == "large.arrow" else 100)
        assert words in head["error"], name


def test_a_value_that_stands_in_a_million_rows(tmp_path: Path) -> None:
    """What a file holds once may be more than any limit once it is spelled out in every row."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 1_000]))
    head, _ = ask_worker(write_stream(tmp_path / "m.arrow", pa.table({"label": column})), manifest_mb=1)
    assert head["error"] == "its rows hold more than data.max_manifest_mb once unpacked"
