"""What the report can show of refused rows: a few of each reason, decoded where possible, repeats beside what they repeat."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_contracts.run_summary import RunSummary
from tasks.config import RunConfig
from tasks.ingest.quarantine_examples import PER_REASON
from tasks.media import pool
from tasks.reporting.report import write_report
from tasks.reporting.unused_rows import unused_rows
from tasks.store import Store
from tasks.validate.validate import validate_samples
from tests.support.data import write_manifest, write_picture
from tests.support.near_copies import STORY, photograph, recompressed


def _rows(folder: Path, count: int = 8) -> list[dict[str, Any]]:
    for number in range(count):
        write_picture(folder / f"img/{number}.png", number)
    return [{"id": f"s{n}", "image": f"img/{n}.png", "text": f"words {n}", "label": "ab"[n % 2]} for n in range(count)]


def write_page(path: Path, config: RunConfig, store: Store, clean: Any, valid: Any) -> str:
    """The report of a run that came as far as validation."""
    later = dict.fromkeys(("start_choice", "checkpoint", "report", "verdict"))
    write_report(
        path, RunSummary(), config, store, SimpleNamespace(clean=clean, valid=valid, features={}, warnings=[], **later)
    )
    return path.read_text()


def _examples(done: Any, store: Store) -> dict[str, list[dict[str, Any]]]:
    kept = json.loads((store.path(done.clean.uri) / "examples.json").read_text())
    found: dict[str, list[dict[str, Any]]] = {"near": kept["near"]}
    for row in kept["refused"]:
        found.setdefault(row["reason"], []).append(row)
    return found


def test_rows_of_each_reason_with_what_they_hold(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    rows = _rows(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    write_picture(tmp_path / "img/unlabelled.png", 99)
    rows += [
        rows[1] | {"id": "again"},
        rows[2] | {"id": "contrary", "label": "b"},
        {"id": "broken", "image": "bad.png", "text": "its words", "label": "a"},
        {"id": "unlabelled", "image": "img/unlabelled.png", "text": "", "label": ""},
        {"id": "gone", "image": "img/none.png", "text": "", "label": "a"},
    ]
    done = run_ingest(write_manifest(tmp_path / "m.csv", rows))
    found = _examples(done, store)
    assert set(found) == {"near", *done.reasons.values()}
    [again] = found["duplicate"]
    assert (again["id"], again["duplicate_of"]["id"]) == ("again", "s1")
    assert again["media"] == again["duplicate_of"]["media"]
    assert [(row["id"], row["label"], row["duplicate_of"]["id"]) for row in found["conflicting-label"]] == [
        ("s2", "a", "contrary"),
        ("contrary", "b", "s2"),
    ]
    [broken] = found["unreadable-image"]
    assert (set(broken["media"]), broken["bad_modality"], broken["duplicate_of"]) == ({"text"}, "image", None)
    assert Path(broken["path"]) == tmp_path / "bad.png"
    [unlabelled] = found["missing-label"]  # a row that was refused before decoding is decoded for this
    assert set(unlabelled["media"]) == {"image"}
    assert found["missing-file"][0]["media"] == {}
    shown = unused_rows(done.clean, None, store)
    assert shown is not None
    seen = {item["reason"]: item["seen"] for item in shown["reasons"]}
    assert seen["missing-label"][0]["seen"]["image"].startswith("data:image/png;base64,")
    assert seen["duplicate"][0]["duplicate_of"]["seen"]["image"] == seen["duplicate"][0]["seen"]["image"]
    assert seen["unreadable-image"][0]["seen"]["text"] == "its words"
    assert seen["missing-file"] == []
    assert [bar["count"] for bar in shown["outcomes"]] == [7, 5, 1]
    assert sum(bar["width"] for bar in shown["outcomes"]) == pytest.approx(520)


def test_few_of_many_are_decoded(
    tmp_path: Path, store: Store, run_ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    send = pool._message

    def count(batch: list[pool.Job]) -> bytes:
        decoded.extend(job.sha256 for job in batch if job.modality == "image")
        return send(batch)

    monkeypatch.setattr(pool, "_message", count)
    rows = _rows(tmp_path, 20)
    for row in rows[4:]:
        row["label"] = ""
    done = run_ingest(write_manifest(tmp_path / "m.csv", rows))
    assert len(decoded) == 4 + PER_REASON
    assert len(_examples(done, store)["missing-label"]) == PER_REASON
    shown = unused_rows(done.clean, None, store)
    assert shown is not None
    assert (shown["reasons"][0]["count"], len(shown["reasons"][0]["seen"])) == (16, PER_REASON)


def test_near_duplicates_are_shown_as_pairs(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    rows = []
    for number in range(4):
        photograph(number).save(tmp_path / f"{number}.png")
        rows.append({"id": f"s{number}", "image": f"{number}.png", "text": f"{number} {STORY}", "label": "a"})
    recompressed(photograph(2)).save(tmp_path / "copy.png")
    rows.append({"id": "t2", "image": "copy.png", "text": f"2 {STORY}", "label": "a"})
    [pair] = _examples(run_ingest(write_manifest(tmp_path / "m.csv", rows)), store)["near"]
    assert [row["id"] for row in pair] == ["s2", "t2"]
    assert pair[0]["media"]["image"] != pair[1]["media"]["image"]


@pytest.mark.parametrize("policy", ["report", "drop"])
def test_leaked_rows_are_shown_beside_their_counterparts(
    tmp_path: Path, store: Store, run_ingest: Any, policy: str
) -> None:
    rows = [row | {"split": "test" if n > 4 else "train"} for n, row in enumerate(_rows(tmp_path))]
    rows += [rows[6] | {"id": "same", "split": "train"}]
    rows[0]["group"] = rows[7]["group"] = "speaker <1>"
    done = run_ingest(write_manifest(tmp_path / "m.csv", [{"group": "", **row} for row in rows]))
    config = RunConfig.model_validate({"split": {"leakage": policy}})
    valid = validate_samples(done.clean, config, store)
    shown = unused_rows(done.clean, valid, store)
    assert shown is not None
    leaked = shown["leaked"]
    assert (leaked["rows"], leaked["dropped"]) == (2, policy == "drop")
    pairs = [
        (pair["row"]["id"], pair["counterpart"]["id"], pair["counterpart"]["split"], pair["cause"])
        for pair in leaked["pairs"]
    ]
    assert pairs == [("same", "s6", "test", "same content"), ("s0", "s7", "test", "same group")]
    pictures = [pair[side]["seen"]["image"] for pair in leaked["pairs"] for side in ("row", "counterpart")]
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    assert pictures[0] == pictures[1] != pictures[2] != pictures[3]
    assert [bar["count"] for bar in shown["outcomes"]] == ([7, 2, 0] if policy == "drop" else [9, 0, 0])
    page = write_page(tmp_path / "report.html", config, store, done.clean, valid)
    assert "<code>leaked</code> 2" in page
    assert "same group: speaker &lt;1&gt;" in page
    assert ("they were left out" in page) == (policy == "drop")
