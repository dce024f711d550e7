"""Layouts that `datasets` and `webdataset` themselves write are read: rows, splits, class names, pictures and sounds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import webdataset
from PIL import Image

NAMES = ["ant", "bee"]
NO_SEARCH = "split.near_duplicates=false"


def picture(number: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def sound(number: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(number).uniform(-0.5, 0.5, 1_600), 8_000, format="wav")
    return out.getvalue()


def rows(first: int, last: int) -> datasets.Dataset:
    numbers = range(first, last)
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)}
    )
    content = {
        "image": [{"bytes": picture(n), "path": f"{n}.png"} for n in numbers],
        "text": [f"text number {n}" for n in numbers],
        "label": [n % 2 for n in numbers],
    }
    return datasets.Dataset.from_dict(content, features=features)


def splits() -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": rows(0, 24), "validation": rows(24, 32), "test": rows(32, 40)})


def expect_splits(done: Any) -> None:
    assert (done.clean.counts.rows_in, done.clean.counts.used) == (40, 40)
    assert done.clean.splits == {"train": 24, "val": 8, "test": 8}
    assert done.clean.labels == ("ant", "bee")
    assert done.clean.modalities == ("image", "text")


def test_saved_to_disk(tmp_path: Path, run_ingest: Any) -> None:
    splits().save_to_disk(tmp_path / "set", num_shards={"train": 2, "validation": 1, "test": 1})
    expect_splits(run_ingest(tmp_path / "set", NO_SEARCH))


def test_one_split_saved_to_disk(tmp_path: Path, run_ingest: Any) -> None:
    rows(0, 20).save_to_disk(tmp_path / "one")
    done = run_ingest(tmp_path / "one", NO_SEARCH)
    assert (done.clean.counts.used, done.clean.labels) == (20, ("ant", "bee"))


def test_a_selection_is_written_out(tmp_path: Path, run_ingest: Any) -> None:
    """save_to_disk writes the rows that `select` chose, not an index of them."""
    rows(0, 30).shuffle(seed=1).select(range(10)).save_to_disk(tmp_path / "some")
    assert run_ingest(tmp_path / "some", NO_SEARCH).clean.counts.used == 10


def test_parquet_as_the_hub_names_it(tmp_path: Path, run_ingest: Any) -> None:
    (tmp_path / "data").mkdir()
    for split, found in splits().items():
        found.to_parquet(tmp_path / f"data/{split}-00000-of-00001.parquet")
    expect_splits(run_ingest(tmp_path, NO_SEARCH))


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_text_in_its_other_formats(tmp_path: Path, ending: str, run_ingest: Any) -> None:
    for split, found in splits().items():
        getattr(found.remove_columns("image"), f"to_{ending}")(tmp_path / f"{split}.{ending}")
    done = run_ingest(tmp_path, NO_SEARCH)
    assert (done.clean.counts.used, done.clean.splits["val"], done.clean.labels) == (40, 8, ("0", "1"))


def test_sounds_inside_parquet(tmp_path: Path, run_ingest: Any) -> None:
    content = {
        "audio": [{"bytes": sound(n), "path": f"{n}.wav"} for n in range(12)],
        "label": [n % 2 for n in range(12)],
    }
    found = datasets.Dataset.from_dict(content).cast_column("label", datasets.ClassLabel(names=NAMES))
    # cast, as encoding sounds of its own would need torchcodec
    found.cast_column("audio", datasets.Audio(decode=False)).to_parquet(tmp_path / "a.parquet")
    done = run_ingest(tmp_path / "a.parquet", NO_SEARCH)
    assert (done.clean.counts.used, done.clean.modalities, done.clean.labels) == (12, ("audio",), ("ant", "bee"))


def test_columns_of_several_labels(tmp_path: Path, run_ingest: Any) -> None:
    """Sequence(ClassLabel) is a set of names."""
    features = {"text": datasets.Value("string"), "label": datasets.Sequence(datasets.ClassLabel(names=NAMES))}
    content = {"text": [f"text number {n}" for n in range(12)], "label": [[n % 2, 1] for n in range(12)]}
    datasets.Dataset.from_dict(content, features=datasets.Features(features)).to_parquet(tmp_path / "m.parquet")
    done = run_ingest(tmp_path / "m.parquet", NO_SEARCH, "data.problem=multilabel")
    assert (done.clean.counts.used, done.clean.labels) == (12, ("ant", "bee"))


def samples(first: int, last: int) -> Iterator[dict[str, Any]]:
    for n in range(first, last):
        pixels = np.random.default_rng(n).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        yield {
            "__key__": f"{n:06}",
            "png": pixels,
            "txt": f"text number {n}",
            "cls": n % 2,
            "json": {"camera": n},
        }


def test_shards(tmp_path: Path, run_ingest: Any) -> None:
    for split, first, last in (("train", 0, 24), ("val", 24, 32), ("test", 32, 40)):
        with webdataset.ShardWriter(str(tmp_path / f"{split}-%06d.tar"), maxcount=10, verbose=0) as writer:
            for sample in samples(first, last):
                writer.write(sample)
    assert len(list(tmp_path.glob("train-*.tar"))) == 3
    done = run_ingest(tmp_path, NO_SEARCH)
    assert (done.clean.counts.rows_in, done.clean.counts.used) == (40, 40)
    assert done.clean.splits == {"train": 24, "val": 8, "test": 8}
    assert done.clean.modalities == ("image", "text")
    assert done.clean.labels == ("0", "1")


def test_what_is_read_is_what_webdataset_reads(tmp_path: Path, run_ingest: Any) -> None:
    with webdataset.TarWriter(str(tmp_path / "one.tar")) as writer:
        for sample in samples(0, 12):
            writer.write(sample)
    theirs = {
        bytes(sample["txt"]).decode() for sample in webdataset.WebDataset(str(tmp_path / "one.tar"), shardshuffle=False)
    }
    done = run_ingest(tmp_path / "one.tar", NO_SEARCH)
    assert (done.clean.counts.used, len(theirs)) == (12, 12)
