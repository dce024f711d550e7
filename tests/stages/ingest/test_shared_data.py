"""The sample data beside the repository: hostile files end as their index says, and the real sets are read whole."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.config_sections import MediaConfig
from tasks.errors import CrossmodalError
from tasks.ingest.sources.detect import open_manifest
from tasks.media.pool import Job, decode_all

pytestmark = pytest.mark.shared
READ_WITH_A_NOTE = {"manifest_csv/duckdb__bad_escape.csv"}
"""Refused by the reader that the index was made with: quotation marks behind a backslash, which data.csv.escape reads."""
ENDINGS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}


def _index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _agrees(row: dict[str, str], quarantined: bool) -> bool:
    return (row["expected"] == "quarantine") == quarantined or (row["quarantine_also_fine"] == "1" and quarantined)


def test_every_hostile_medium_ends_as_its_index_says(shared_data: Path) -> None:
    folder = shared_data / "hostile"
    rows = {str(folder / row["path"]): row for row in _index(folder) if not row["modality"].startswith("manifest_")}
    jobs = []
    for path, row in rows.items():
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        jobs.append(Job(row["modality"], digest, path))  # type: ignore[arg-type]
    outcomes = list(decode_all(jobs, MediaConfig(timeout_s=600).model_dump(mode="json"), 2))
    assert len(outcomes) == len(rows)
    detected = [
        o for o in outcomes if str(o.header.get("warning")).startswith("not UTF-8, read as")
    ]  # as good as UTF-8
    assert len(detected) == 12
    wrong = {
        o.job.path: o.header
        for o in outcomes
        if o not in detected and not _agrees(rows[o.job.path or ""], "reason" in o.header)
    }
    assert wrong == {}
    assert not [o.job.path for o in outcomes if str(o.header.get("reason")).startswith("decoder-")]


def test_every_hostile_manifest_ends_as_its_index_says(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "hostile"
    wrong = []
    for number, row in enumerate(row for row in _index(folder) if row["modality"].startswith("manifest_")):
        path = tmp_path / f"{number}{ENDINGS[row['format']]}"
        shutil.copyfile(folder / row["path"], path)
        try:
            quarantined = any(read.reason for manifest, _ in open_manifest(path) for read in manifest.rows)
        except CrossmodalError as error:
            assert "\n" not in str(error)  # noqa: PT017
            quarantined = True
        if not _agrees(row, quarantined) and row["path"] not in READ_WITH_A_NOTE:
            wrong.append(row["path"])
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "rows", "splits"),
    [
        ("avdigits/manifest.csv", 200, {"train", "val", "test"}),
        ("cifar10_12k/manifest.csv", 200, {"train", "val", "test"}),
        ("cifar10_12k/train", 200, {"train", "val", "test"}),
        ("cifar10/test.parquet", 200, {"train", "val", "test"}),
        ("cifar10", 200, {"train", "val", "test"}),
    ],
)
def test_the_real_sets_are_read(shared_data: Path, run_ingest: Any, name: str, rows: int, splits: set[str]) -> None:
    done = run_ingest(shared_data / name, f"data.max_rows={rows}")
    assert (done.clean.counts.used, done.clean.counts.quarantined) == (rows, 0)
    assert {split for split, count in done.clean.splits.items() if count} == splits
    assert len(done.clean.labels) == 10
