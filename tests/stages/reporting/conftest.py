"""A whole run's artifacts without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.refs import (
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    RowCounts,
    RuleResult,
    ValidatedRef,
    Verdict,
)
from data_contracts.tables import media_schema, quarantine_schema, samples_schema
from data_contracts.training_history import StartChoice
from tasks.config import RunConfig, load_config
from tasks.evaluate.detail import describe
from tasks.media.media_store import media_kind
from tasks.problems.multiclass_metrics import score_classes
from tasks.problems.registry import get_problem
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tests.support.classifiers import make_probabilities
from tests.support.data import TINY


@dataclass
class FakeParts:
    clean: CleanRef | None = None
    valid: ValidatedRef | None = None
    features: dict[Any, FeatureRef] = field(default_factory=dict)
    checkpoint: CheckpointRef | None = None
    report: EvalReport | None = None
    verdict: Verdict | None = None
    start_choice: StartChoice | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass
class FakeRun:
    """Everything that write_report takes."""

    store: Store
    config: RunConfig
    summary: dict[str, Any]
    parts: FakeParts


MakeRun = Callable[..., FakeRun]


@pytest.fixture(name="make_run")
def _make_run(tmp_path: Path) -> MakeRun:
    def make(labels: tuple[str, ...], rows: int = 300, skill: float = 3.0, text: str = "seven") -> FakeRun:
        return fake_run(Store(tmp_path / "store"), labels, rows, skill, text)

    return make


def fake_run(store: Store, labels: tuple[str, ...], rows: int, skill: float, text: str) -> FakeRun:
    """A run on random media: image, text and audio, one in ten of each missing."""
    fingerprints: dict[Any, str] = {name: digest_json(name) for name in ("image", "text", "audio")}
    digests = _put_media(store, fingerprints, text)
    probabilities, truth = make_probabilities(rows, len(labels), skill)
    weaker, _ = make_probabilities(rows, len(labels), skill - 0.5, seed=1)
    weaker = 0.5 * weaker + 0.5 * probabilities
    ours, theirs = score_classes(probabilities, truth), score_classes(weaker, truth)
    samples = _samples(labels, truth, digests)
    clean = _clean(store, labels, rows, fingerprints)
    valid = ValidatedRef(
        uri="validated/k", sha256=digest_json("valid"), rows=rows, clean=clean, docs="validated/k/docs",
        warnings=("17 samples of the test split share their group with train",),
    )  # fmt: skip
    with store.create("checkpoints", "k") as draft:
        (draft.path / "history.json").write_text(json.dumps(_history()))
    checkpoint = CheckpointRef(
        uri="checkpoints/k", sha256=digest_json("c"), rows=rows, model_sha256=digest_json("m"),
        train_key=digest_json("t"), modalities=("image", "text", "audio"), labels=labels, best_epoch=9, epochs=12,
    )  # fmt: skip
    with store.create("evaluations", "k") as draft:
        detail = describe(Samples(samples), get_problem("multiclass"), ours, labels, checkpoint.modalities)
        (draft.path / "detail.json").write_text(detail.model_dump_json())
    names = ("image", "text", "audio", "image+text", "image+audio", "text+audio", "image+text+audio")
    report = EvalReport(
        uri="evaluations/k", sha256=digest_json("e"), rows=rows, model_sha256=checkpoint.model_sha256,
        metrics={"test": ours.score()}, intervals=ours.intervals(0),
        by_modalities={
            name: score_classes(make_probabilities(rows, len(labels), skill * (0.35 + 0.09 * i))[0], truth).score()
            for i, name in enumerate(names)
        },
        majority_share=1 / len(labels) + 0.01, champion_sha256=digest_json("champion"), champion_version="3",
        champion_metrics=theirs.score(), differences=ours.differences(theirs, 0),
    )  # fmt: skip
    rules = (
        RuleResult(rule="above majority", metric="accuracy", value=0.91, threshold=0.11, baseline="majority answer",
                   n=rows, outcome="pass", detail="the interval lies above the threshold"),
        RuleResult(rule="not worse", metric="macro_f1", value=None, threshold=-0.01, baseline="champion version 3",
                   n=rows, outcome="inconclusive", detail="the interval contains the threshold"),
    )  # fmt: skip
    verdict = Verdict(
        uri="verdicts/k", sha256=digest_json("v"), rows=rows, decision="promote", reason="all 2 rules passed",
        rules=rules, model_sha256=checkpoint.model_sha256,
    )  # fmt: skip
    parts = FakeParts(clean, valid, {}, checkpoint, report, verdict)
    return FakeRun(store, load_config({}, TINY), _summary(clean, report, verdict), parts)


def _put_media(store: Store, fingerprints: dict[Any, str], text: str) -> dict[str, str]:
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    sound = (np.sin(np.arange(8000) ** 1.3 / 40) * 9000).astype("<i2")
    contents = {
        "image": (list(picture.shape), picture.tobytes(), None),
        "text": ([len(text)], text.encode(), None),
        "audio": ([len(sound)], sound.tobytes(), 16_000),
    }
    digests = {}
    for modality, (shape, data, rate) in contents.items():
        digests[modality] = digest_json([modality, len(data)])
        row = {"source": "s", "digest": digests[modality], "shape": shape, "data": data, "rate_hz": rate}
        table = pa.Table.from_pylist([row], schema=media_schema())
        store.put_part(media_kind(modality, fingerprints[modality]), "k", table)  # type: ignore[arg-type]
    return digests


def _samples(labels: tuple[str, ...], truth: np.ndarray, digests: dict[str, str]) -> pa.Table:
    generator = np.random.default_rng(7)
    columns = {name: [digest if generator.random() > 0.1 else None for _ in truth] for name, digest in digests.items()}
    rows = len(truth)
    return pa.table(
        {
            "id": [f"sample-{i:05d}" for i in range(rows)],
            "label": [labels[c] for c in truth],
            "targets": pa.nulls(rows, pa.string()),
            "split": ["test"] * rows,
            "group": pa.nulls(rows, pa.string()),
            "weight": np.ones(rows),
            **columns,
            "video": pa.nulls(rows, pa.string()),
            "row": np.arange(rows),
            "table": pa.nulls(rows, pa.string()),
        },
        schema=samples_schema(),
    )


def _clean(store: Store, labels: tuple[str, ...], rows: int, media: dict[Any, str]) -> CleanRef:
    refused = [
        {"id": f"bad-{i}", "modality": "image", "path": f"images/{i}.png", "reason": reason, "detail": detail, "row": i}
        for i, (reason, detail) in enumerate(
            [("undecodable", "truncated at byte 812")] * 6
            + [("outside-root", "../../etc/passwd")]
            + [("duplicate", None)]
        )
    ]
    with store.create("clean", "k") as draft:
        pq.write_table(pa.Table.from_pylist(refused, schema=quarantine_schema()), draft.path / "quarantine.parquet")
    return CleanRef(
        uri="clean/k", sha256=digest_json("clean"), rows=rows, labels=labels, modalities=("image", "text", "audio"),
        counts=RowCounts(rows_in=rows + 8, used=rows, quarantined=7, duplicates=1), media=media,
        splits={"train": 2000, "val": 500, "test": rows}, notes=("column 'video' is empty: left out",),
    )  # fmt: skip


def _history() -> dict[str, Any]:
    epochs = [
        {"epoch": e, "train_loss": 2.3 / e**0.7, "val_loss": 2.2 / e**0.6 + max(e - 9, 0) * 0.03,
         "val_accuracy": 1 - 0.8 / e, "learning_rate": 1e-3, "grad_norm": 1.0, "seconds": 3.0}
        for e in range(1, 13)
    ]  # fmt: skip
    return {"epochs": epochs, "best_epoch": 9, "parameters": 1_234_567}


def _summary(clean: CleanRef, report: EvalReport, verdict: Verdict) -> dict[str, Any]:
    counts = clean.counts
    return {
        "run": "2026-11-21-brave-otter",
        "flow": "retrain",
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "model": {"name": "digits", "version": "4", "alias": "champion", "sha256": report.model_sha256},
        "rows": {"in": counts.rows_in, "used": counts.used, "quarantined": counts.quarantined, "duplicates": 1},
        "splits": dict(clean.splits),
        "metrics": report.metrics,
        "by_modalities": report.by_modalities,
        "work": {"computed": {"image": 12, "audio": 0}, "reused": {"image": 2988, "audio": 3000}},
        "seconds": {"ingest": 6.2, "validate": 9.1, "extract": 4.4, "train": 173.0, "evaluate": 5.0, "total": 199.1},
        "report": None,
    }
