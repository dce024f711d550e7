"""rows_in = used + quarantined + duplicates, whatever the manifest holds: a property over generated manifests."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.refs import CleanRef
from tasks.config import load_config
from tasks.errors import DataError, TooManyQuarantined
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.store import Store

SETTINGS = ["runtime.workers=1", "media.timeout_s=600", "data.max_quarantined=1.0", 'data.allowed_schemes=["memory"]']
CONFIG = load_config({}, [*SETTINGS, "media.audio_from_video=true", "media.image_from_video=true"])
IMAGES = ["", "img/0.png", "img/1.png", "img/2.png", "bad.png", "none.png", "../x.png", "http://x/y.png"]
IMAGES += ["memory://b/2.png", "memory://b/none.png", "memory://b/bad.png", "memory://b"]
VIDEOS = ["", "", "0.mp4", "1.mp4", "bad.png", "memory://b/1.mp4", "none.mp4"]
COLUMNS = ("id", "image", "text", "video", "label", "split", "group")
ROW = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["", "a", "b", "c", "d", "e", "=f"]),
        "image": st.sampled_from(IMAGES),
        "text": st.sampled_from(["", "one", "two", "\u200f", "one "]),
        "video": st.sampled_from(VIDEOS),
        "label": st.sampled_from(["", "x", "y"]),
        "split": st.sampled_from(["", "train", "dev", "TEST", "other"]),
        "group": st.sampled_from(["", "g", "h"]),
    }
)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all examples: every picture and text is decoded once."""
    return Store(tmp_path_factory.mktemp("conservation") / "store")


def _ingest(path: Path, store: Store) -> CleanRef | None:
    try:
        return ingest(scan(CONFIG, store, path), CONFIG, store)
    except TooManyQuarantined as refusal:
        return refusal.clean
    except DataError as error:
        assert "no usable cell" in str(error)  # noqa: PT017
        return None


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(ROW, min_size=1, max_size=10), broken=st.integers(0, 3))
def test_every_row_is_used_quarantined_or_a_duplicate(
    make_data: Callable[..., Path],
    make_clip: Callable[..., bytes],
    warm: Store,
    rows: list[dict[str, Any]],
    broken: int,
) -> None:
    path = make_data(3)
    (path.parent / "bad.png").write_bytes(b"no picture")
    remote = fsspec.filesystem("memory")
    for number in range(2):
        if not (clip := path.parent / f"{number}.mp4").exists():  # one folder for all examples
            clip.write_bytes(make_clip(2 + number, sound_s=0.2 * number))
    for name in ("img/2.png", "bad.png", "1.mp4"):
        remote.pipe(f"/b/{Path(name).name}", (path.parent / name).read_bytes())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([row[name] for name in COLUMNS] for row in rows)
        writer.writerows([["ragged"]] * broken)
    clean = _ingest(path, warm)
    if clean is None:
        return
    samples = pq.read_table(warm.path(clean.uri) / "samples.parquet").to_pylist()
    refused = pq.read_table(warm.path(clean.uri) / "quarantine.parquet").to_pylist()
    duplicates = sum(row["reason"] == "duplicate" for row in refused)
    counts = clean.counts
    assert counts.rows_in == len(rows) + broken
    others = counts.quarantined + counts.unlabelled + counts.sealed
    assert (counts.used, others, counts.duplicates) == (len(samples), len(refused) - duplicates, duplicates)
    assert counts.rows_in == counts.used + others + counts.duplicates
    assert sorted(row["row"] for row in [*samples, *refused]) == list(range(2, len(rows) + broken + 2))
    assert max(Counter(row["id"] for row in samples).values(), default=1) == 1
    for sample in samples:
        own_split = rows[sample["row"] - 2]["split"]
        expected = {"train": {"train", "val"}, "dev": {"val"}, "TEST": {"test"}, "": {"train", "val", "test"}}
        assert sample["split"] in expected[own_split]
