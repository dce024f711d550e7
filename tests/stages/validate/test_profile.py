"""The profile of the data counts what is there and holds no row of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.config import load_config
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.samples import Samples
from tasks.store import Store
from tasks.validate.profile import CLASSES, histogram, profile_samples
from tasks.validate.validate import validate_samples
from tests.support.spoiled_samples import CONFIG, Bench, good_rows, table_of


def test_counts_per_class_split_and_modality(bench: Bench) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    profile = json.loads((bench.store.path(valid.uri) / "profile.json").read_text())
    assert profile["rows"] == 36
    assert profile["classes"]["rows"][0] == {"label": "cat", "rows": 12, "train": 8, "val": 2, "test": 2}
    assert [(m["name"], m["missing"], m["distinct"]) for m in profile["modalities"]] == [
        ("image", 0, 36),
        ("text", 8, 28),
        ("audio", 0, 36),
    ]


def test_sizes_of_the_canonical_media(make_data: Any, store: Store, tmp_path: Path) -> None:
    config = load_config({}, ["runtime.workers=1", "data.max_quarantined=0.2"])
    path = make_data(9, change=lambda row, n: row | {"text": "x" * (n + 1)})
    (path.parent / "img/8.png").write_text("no picture")
    valid = validate_samples(ingest(scan(config, store, path), config, store), config, store)
    image, text, audio = json.loads((store.path(valid.uri) / "profile.json").read_text())["modalities"]
    assert image["sizes"] == {"low": 16, "high": 16, "median": 16, "counts": [8]}
    assert (text["unit"], text["sizes"]["low"], text["sizes"]["high"]) == ("characters", 1, 8)
    assert (round(audio["sizes"]["median"], 3), audio["unit"]) == (0.1, "seconds")


def test_of_many_classes_the_largest_and_the_smallest_are_listed(bench: Bench) -> None:
    rows = [good_rows()[0] | {"label": f"c{n % 60:02}"} for n in range(100)]
    classes = profile_samples(Samples(table_of(rows)), bench.clean(good_rows()), bench.store)["classes"]
    assert (classes["count"], classes["left_out"], len(classes["rows"])) == (60, 60 - CLASSES, CLASSES)
    assert (classes["rows"][0]["rows"], classes["rows"][-1]["rows"]) == (2, 1)


def test_a_histogram_holds_every_value() -> None:
    bins = histogram([0.0, 1.0, 2.0, 12.0])
    assert bins is not None
    assert (sum(bins["counts"]), bins["counts"][0], bins["counts"][-1], bins["median"]) == (4, 1, 1, 2.0)
    assert histogram([]) is None
