"""The lines of a run's log: what each stage says, by value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from data_contracts.refs import CheckpointRef, CleanRef, EvalReport, FeatureRef, RowCounts, RuleResult, Verdict
from data_contracts.training_history import Epoch, TrainingHistory
from tasks import progress, run_log
from tasks.store import digest_json

KEY = digest_json("x")
CLEAN = CleanRef(
    uri="clean/x", sha256=KEY, rows=8, labels=("a", "b"), modalities=("image",), media={}, notes=("2 ids were shared",),
    counts=RowCounts(rows_in=1200, used=8, quarantined=3, duplicates=1), splits={"train": 5, "val": 1, "test": 2},
)  # fmt: skip
CHECKPOINT = CheckpointRef(
    uri="checkpoints/x", sha256=KEY, rows=5, model_sha256=KEY, train_key=KEY, modalities=("image",), labels=("a", "b"),
    best_epoch=1, epochs=2,
)  # fmt: skip
EPOCH = {"epoch": 1, "train_loss": 2.0, "val_loss": 1.5, "val_accuracy": 0.5, "learning_rate": 0.002}
REPORT = EvalReport(
    uri="evaluations/x", sha256=KEY, rows=2, model_sha256=KEY, metrics={"test": {"accuracy": 0.5, "auroc": None}},
    intervals={"accuracy": (0.25, 0.75)}, by_modalities={"image": {"accuracy": 0.5}}, majority_share=0.5,
)  # fmt: skip


def lines_of(say: Callable[[], None]) -> list[tuple[str, str]]:
    heard: list[tuple[str, str]] = []
    with progress.listening_to_lines(lambda line, level: heard.append((level, line))):
        say()
    return heard


def test_rows_with_the_reasons_of_those_that_were_refused() -> None:
    assert lines_of(lambda: run_log.log_rows(CLEAN, {"no-label": 1, "unreadable-image": 2}, reused=False)) == [
        ("info", "ingest: 1,200 rows read, 8 used, 3 quarantined, 1 duplicates; train 5, val 1, test 2"),
        ("warning", "ingest: quarantined unreadable-image: 2, no-label: 1"),
        ("info", "ingest: 2 ids were shared"),
    ]
    assert lines_of(lambda: run_log.log_rows(CLEAN, {}, reused=True))[0][1].endswith("(reused from the store)")


def test_features_that_were_computed_and_reused() -> None:
    ref = FeatureRef(
        uri="f", sha256=KEY, rows=8, modality="image", encoder="tiny", fingerprint=KEY, parts=(), dtype="uint8",
        computed=3, reused=5,
    )  # fmt: skip
    assert lines_of(lambda: run_log.log_features([ref])) == [
        ("info", "extract: image by tiny: 3 samples computed, 5 reused")
    ]


def test_training_from_its_device_to_its_early_stop() -> None:
    message = "train loss 2.0000, val loss 1.5000, val accuracy 0.5000, learning rate 0.002"
    assert lines_of(lambda: run_log.log_training_begins("cpu", 1, ["head", "lora"], 30, 0)) == [
        ("info", "train: on cpu, head, then lora, at most 30 epochs")
    ]
    assert lines_of(lambda: run_log.log_training_begins("H100", 2, ["full"], 30, 4)) == [
        ("info", "train: on 2 x H100, full, at most 30 epochs, resumed after epoch 4")
    ]
    assert lines_of(lambda: run_log.log_epoch(Epoch.model_validate(EPOCH), 30)) == [
        ("info", f"train: epoch 1 of 30: {message}")
    ]
    assert lines_of(lambda: run_log.log_training_ends(12, 30, 5)) == [
        ("info", "train: stopped early after 12 of 30 epochs: no better validation loss for 5 epochs")
    ]
    assert lines_of(lambda: run_log.log_training_ends(30, 30, 5)) == []
    history = {
        "epochs": [EPOCH],
        "figures": {"samples_per_s": 10.0, "train_s": 2.0, "device": "cpu", "notes": ["halved"]},
    }
    assert lines_of(
        lambda: run_log.log_checkpoint(CHECKPOINT, TrainingHistory.model_validate(history), reused=False)
    ) == [
        ("info", f"train: best epoch 1 of 2: {message}; model sha256 {KEY[:12]}"),
        ("info", "train: 2.0 s on cpu, 10 samples/s"),
        ("warning", "train: halved"),
    ]


def test_test_figures_with_their_interval_then_the_gates_rules() -> None:
    assert lines_of(lambda: run_log.log_evaluation(REPORT, reused=False)) == [
        ("info", "evaluate: 2 test rows: accuracy 0.500 [0.250, 0.750]"),
        ("info", "evaluate: given image: accuracy 0.500"),
    ]
    rule = RuleResult(
        rule="accuracy >= 0.9", metric="accuracy", value=0.5, threshold=0.9, baseline="absolute minimum", n=2,
        outcome="fail", detail="accuracy 0.500 < 0.9",
    )  # fmt: skip
    verdict = Verdict(
        uri="verdicts/x", sha256=KEY, rows=2, decision="reject", reason="rejected", rules=(rule,), model_sha256=KEY
    )
    assert lines_of(lambda: run_log.log_gate(verdict)) == [
        ("warning", "gate: fail: accuracy >= 0.9: accuracy 0.500 < 0.9")
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ("info", "verdict: reject: too low (1.5 s)")),
        ("no\nrows", ("warning", "failed after 1.5 s: no rows")),
    ],
)
def test_the_end(error: str | None, expected: tuple[str, str]) -> None:
    assert lines_of(lambda: run_log.log_end("reject", "too low", error, 1.5)) == [expected]
