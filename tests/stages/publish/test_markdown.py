"""The Markdown that a published model comes with, read as a reader's program reads it: tables are tables, names are text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from data_contracts.refs import (
    CheckpointRef,
    CleanRef,
    EvalReport,
    ProblemName,
    RowCounts,
    RuleResult,
    ValidatedRef,
    Verdict,
)
from data_contracts.training_history import ComparedStart, TrainingHistory, TrainRowChanges, WarmStartRecord
from data_contracts.uncertainty import (
    MeasuredShare,
    OutlierFigures,
    SelectiveFigures,
    SetFigures,
    UncertaintyFigures,
)
from tasks.config import load_config
from tasks.escaping import one_line
from tasks.problems.registry import metric_names
from tasks.publish.card import write_card
from tasks.publish.chain import Link
from tasks.publish.tracking import RunRecord, describe_run
from tasks.publish.version_page import describe_version
from tests.support.hostile import HOSTILE_NAMES
from tests.support.markdown import markup_of, tables_of, text_of

KEY = "0" * 64
CONFIG = load_config({}, ["name=wild"])
SUBSETS = ("image", "text", "image+text")
LABELS = (*(name for name in HOSTILE_NAMES if len(name) < 100), "cat_1", "a*b*c", "`tick`")


def make_verdict(name: str) -> Verdict:
    rule = RuleResult(
        rule=name, metric="accuracy", value=0.5, threshold=None, baseline=name, n=9, outcome="fail", detail=name
    )
    return Verdict(uri="v", sha256=KEY, rows=9, decision="reject", reason=name, rules=(rule,), model_sha256=KEY)


def make_report(problem: ProblemName, theirs: bool = True) -> EvalReport:
    figures: dict[str, float | None] = dict.fromkeys(metric_names(problem), 0.5)
    first = metric_names(problem)[0]
    return EvalReport(
        uri="e", sha256=KEY, rows=9, model_sha256=KEY, problem=problem, metrics={"test": figures, LABELS[0]: figures},
        intervals={first: (0.4, 0.6)}, by_modalities={name: dict(figures) for name in SUBSETS}, majority_share=0.5,
        baselines={first: 0.1, f"{LABELS[2]}.{first}": 0.1}, champion_metrics=figures if theirs else None,
    )  # fmt: skip


def make_valid(column: str) -> ValidatedRef:
    clean = CleanRef(
        uri="c", sha256=KEY, rows=9, labels=LABELS, modalities=("image", "image_2", "text"),
        counts=RowCounts(rows_in=10, used=9, quarantined=1, duplicates=0), media={},
        splits={"train": 4, "val": 2, "test": 3}, columns={"image": column, "image_2": column},
    )  # fmt: skip
    return ValidatedRef(uri="c", sha256=KEY, rows=9, clean=clean, docs="c/docs")


CHECKPOINT = CheckpointRef(
    uri="k", sha256=KEY, rows=4, model_sha256=KEY, train_key=KEY, modalities=("image", "image_2", "text"),
    labels=LABELS, best_epoch=1, epochs=2,
)  # fmt: skip


@pytest.mark.parametrize("problem", ["multiclass", "multilabel", "regression"])
def test_the_card_has_its_three_tables(problem: ProblemName) -> None:
    report, verdict = make_report(problem), make_verdict("accuracy >= 0.9")
    figures, subsets, gate = tables_of(write_card(CHECKPOINT, report, verdict, make_valid("front"), CONFIG))
    assert figures[0] == ["metric", "value", "interval (95 %)"]
    assert [row[0] for row in figures[1:]] == list(metric_names(problem))
    assert [row[0] for row in subsets[1:]] == list(SUBSETS)
    assert set(subsets[0][1:]) <= set(metric_names(problem))
    assert all(any(c.isdigit() for c in cell) for row in subsets[1:] for cell in row[1:])
    assert gate[1][0] == "accuracy >= 0.9"


def test_the_card_says_what_an_answer_is_worth() -> None:
    share = MeasuredShare(count=9, rows=10, interval=(0.6, 0.98))
    figures = UncertaintyFigures(
        temperature=1.25,
        sets=SetFigures(alpha=0.1, covered=share, mean_size=1.5, single=5),
        selective=SelectiveFigures(max_risk=0.05, answered=share, wrong=None),
        outliers=OutlierFigures(false_positive_rate=0.02, flagged=share),
    )
    report = make_report("multiclass").model_copy(update={"uncertainty": figures})
    card = write_card(CHECKPOINT, report, make_verdict("r"), make_valid("x"), CONFIG)
    rows = tables_of(card)[2][1:]
    assert [row[1] for row in rows] == ["0.9000", "0.0500", "–", "0.0200"]
    assert [row[2] for row in rows] == ["0.9000", "–", "0.9000", "0.9000"]
    assert rows[0][3:] == ["0.6000 to 0.9800", "10"]
    assert "scaled by a temperature of 1.250" in text_of(card)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_shown_as_themselves(name: str) -> None:
    report, verdict, shown = make_report("multiclass"), make_verdict(name), one_line(name).strip()
    card = write_card(CHECKPOINT, report, verdict, make_valid(name), CONFIG)
    assert tables_of(card)[2][1][0] == tables_of(card)[2][1][3] == shown
    assert f"image is the column {one_line(name, 100).strip()}" in text_of(card)
    run = RunRecord("wild", "r", CONFIG, "reject", name, None, {}, {}, {}, Path(), report=report)
    for text in (
        card,
        describe_version("wild", "champion", verdict, report, make_valid(name)),
        describe_run(run),
        describe_run(replace(run, error=name)),
    ):
        assert markup_of(text) == set()
        assert shown in text_of(text)
        assert tables_of(text)


def test_the_card_quotes_what_the_verdict_rests_on() -> None:
    chain = [
        Link(uri="verdicts/d", sha256="1" * 64, code="a" * 64),
        Link(uri="evaluations/e", sha256="2" * 64, code=None),
    ]
    card = write_card(CHECKPOINT, make_report("multiclass"), make_verdict("r"), make_valid("x"), CONFIG, chain)
    assert f"- verdicts: `{'1' * 64}`, code `{'a' * 16}`\n- evaluations: `{'2' * 64}`\n" in card
    bare = write_card(CHECKPOINT, make_report("multiclass"), make_verdict("r"), make_valid("x"), CONFIG)
    assert "What the verdict rests on" not in bare


@pytest.mark.parametrize(("start", "told"), [("champion", True), ("scratch", False)])
def test_the_card_says_which_model_it_was_continued_from(start: Literal["champion", "scratch"], told: bool) -> None:
    changes = TrainRowChanges(before=10, added=1)
    compared = (ComparedStart(start=start, epochs=1, val_loss=0.5, seconds=1.0, chosen=True),)
    record = WarmStartRecord(champion="c" * 64, changes=changes, compared=compared)
    history = TrainingHistory(start=record)
    card = write_card(
        CHECKPOINT, make_report("multiclass"), make_verdict("r"), make_valid("x"), CONFIG, history=history
    )
    line = f"\n- Continued from the weights of the champion of that time, sha256 `{'c' * 64}`\n\n## Data\n"
    assert (line in card) is told
    assert ("c" * 64 in card) is told


def test_labels_are_shown_as_themselves() -> None:
    card = write_card(CHECKPOINT, make_report("multiclass"), make_verdict("r"), make_valid("x"), CONFIG)
    assert f"Labels: {', '.join(f'“{one_line(label)}”' for label in LABELS)}" in text_of(card)


@pytest.mark.parametrize("theirs", [True, False])
def test_a_versions_page_has_its_table(theirs: bool) -> None:
    report = make_report("multiclass", theirs)
    (table,) = tables_of(describe_version("wild", "champion", make_verdict("r"), report, make_valid("x")))
    assert table[0] == ["metric", "9 test rows", "95 % interval", *(["champion"] if theirs else [])]
    assert [row[0] for row in table[1:]] == list(metric_names("multiclass"))
