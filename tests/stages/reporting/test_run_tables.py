"""Tables of runs and models, by value: which columns they have, and what stands for what is unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from data_contracts.refs import CheckpointRef, CleanRef, DriftTest, EvalReport, FeatureRef, Ref, RowCounts
from data_contracts.run_record import RunRecord
from data_contracts.run_summary import RunSummary
from tasks.reporting.run_diff import Change, Figure, RunDiff, changes_table, figures_table
from tasks.reporting.run_tables import drift_table, models_table, run_facts, runs_table, work_table
from tasks.reporting.run_tables import figures_table as summary_figures
from tasks.store import digest_json

KEY = digest_json("x")


@dataclass
class FakeRun:
    """How far a run came."""

    clean: CleanRef | None = None
    features: dict[Any, FeatureRef] = field(default_factory=dict)
    checkpoint: CheckpointRef | None = None
    report: EvalReport | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def reused(self, ref: Ref | None) -> bool:
        return ref is not None and ref.uri == "clean/old"


def test_a_stage_that_failed_has_its_seconds_and_no_counts() -> None:
    counts = RowCounts(rows_in=9, used=9, quarantined=0, duplicates=0)
    clean = CleanRef(
        uri="clean/old", sha256=KEY, rows=9, counts=counts, splits={"train": 9}, labels=("a",), modalities=("image",),
        media={},
    )  # fmt: skip
    image = FeatureRef(
        uri="f", sha256=KEY, rows=9, modality="image", encoder="tiny", fingerprint=KEY, parts=(), dtype="uint8",
        computed=4, reused=5,
    )  # fmt: skip
    run = FakeRun(clean, {"image": image}, seconds={"ingest": 1.26, "extract": 2.0, "train": 3.04, "total": 7.0})
    assert [list(row.values()) for row in work_table(run).as_records()] == [
        ["ingest", 0, 9, 1.3],
        ["extract image", 4, 5, None],
        ["extract", None, None, 2.0],
        ["train", None, None, 3.0],
    ]


def test_figures_with_each_modality_only_where_there_are_several() -> None:
    lines = {"image": {"accuracy": 0.5}, "text": {"accuracy": 0.25}, "image+text": {"accuracy": 0.75, "auroc": 0.9}}
    summary = RunSummary.model_validate({"metrics": {"test": lines["image+text"]}, "by_modalities": lines})
    table = summary_figures(summary)
    assert table.columns[:2] == ("test", "accuracy")
    assert "auroc" not in table.columns
    assert [row[:2] for row in table.rows] == [
        ("all modalities", "0.7500"),
        ("image only", "0.5000"),
        ("text only", "0.2500"),
    ]
    single = RunSummary.model_validate(
        {"metrics": {"test": lines["image"]}, "by_modalities": {"image": lines["image"]}}
    )
    assert [row[0] for row in summary_figures(single).rows] == ["all modalities"]


def test_runs_are_a_line_each_and_all_that_is_known_of_one() -> None:
    started = datetime(2026, 1, 5, 3, tzinfo=UTC)
    crashed = RunRecord(run="a", status="crashed", started=started)
    done = RunRecord(
        run="b", status="completed", verdict="promote", model="m", version="2", started=started, rows={"used": 7},
        metrics={"accuracy": 0.9123, "auroc": None}, intervals={"accuracy": (0.9, 0.95)}, seconds={"total": 61.0},
    )  # fmt: skip
    assert list(runs_table([crashed, done]).as_text()) == [
        ("a", "2026-01-05 03:00", "–", "–", "crashed", "–", "–", "–", "–"),
        ("b", "2026-01-05 03:00", "–", "m", "promote", "2", "7", "accuracy 0.912", "61.0"),
    ]
    facts = dict(run_facts(done))
    assert (facts["model"], facts["accuracy"], facts["finished"]) == ("m version 2", "0.912 [0.900, 0.950]", None)
    assert "auroc" not in facts


def test_of_registry_entries_people_see_short_digests_days_and_some_figures() -> None:
    entry = {"name": "m", "model_sha256": KEY, "promoted_ms": 1795575600000, "uri": "u", "tags": {"a": 1}}
    table = models_table([entry | {"metrics": {"accuracy": 0.5, "ece": 0.1}}, {"name": "n", "metrics": None}])
    assert table.columns == ("name", "model_sha256", "promoted", "tags", "accuracy")
    assert table.rows == (
        ("m", f"{KEY[:12]}…", "2026-11-25 03:00", "a=1", "0.5000"),
        ("n", None, None, None, None),
    )


def test_what_differs_between_two_runs_stands_in_their_columns() -> None:
    figures = [Figure("mae", 0.5, 0.25, (-0.25, -0.5, 0.125)), Figure("r2", None, 0.5, None)]
    diff = RunDiff("a", "b", [Change(name="seed", a="1", b=None)], [], figures, "", [])
    assert changes_table("settings", diff.config, ("one", "two")).as_records() == [
        {"settings": "seed", "one": "1", "two": None}
    ]
    assert list(figures_table(diff, ("one", "two")).as_text()) == [
        ("mae", "0.5", "0.25", "-0.25 [-0.5, +0.125]"),
        ("r2", "–", "0.500", "–"),
    ]


def test_drift_is_told_with_its_effect_and_p() -> None:
    test = DriftTest(
        name="label", method="chi-square", p=None, p_holm=None, effect=0.12345, min_effect=0.1, n_reference=1, n_new=1,
        before="1", after="2", drifted=False,
    )  # fmt: skip
    assert list(drift_table([test]).as_text()) == [("label", "no", "1", "2", "0.123", "–")]
