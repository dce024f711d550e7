"""The pairs that the benchmark makes: within their split, labelled by the larger digit, the same each time."""

import csv
from pathlib import Path

from benchmarks import shared_encoder


def test_pairs_stay_within_their_split_and_are_labelled_by_the_larger(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shared_encoder, "VAL_PAIRS", 10)
    monkeypatch.setattr(shared_encoder, "TEST_PAIRS", 15)
    rows = [
        {"image_path": f"images/{split}_{label}.png", "label": label, "split": split}
        for split in ("train", "validation", "test")
        for label in range(10)
    ]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    written = shared_encoder.write_pairs(tmp_path, tmp_path / "pairs.csv", 30)
    content = written.read_text()
    with written.open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert [sum(row["split"] == split for row in pairs) for split in ("train", "validation", "test")] == [30, 10, 15]
    assert len({(row["image"], row["image_2"]) for row in pairs}) == len(pairs)
    for row in pairs:
        names = [Path(row[name]).stem.split("_") for name in ("image", "image_2")]
        assert {split for split, _ in names} == {row["split"]}
        assert row["label"] == max(label for _, label in names)
    assert shared_encoder.write_pairs(tmp_path, tmp_path / "again.csv", 30).read_text() == content
