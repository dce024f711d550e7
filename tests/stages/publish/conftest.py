"""A small real model with its evaluation and verdict, and registries on sqlite made from one migrated database."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data_contracts.refs import (
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    ReleaseRef,
    RowCounts,
    ValidatedRef,
    Verdict,
)
from data_contracts.tables import features_schema, predictions_schema, samples_schema
from tasks.config import EncodersConfig, FusionConfig, RunConfig
from tasks.gate.gate import gate
from tasks.modeling.card import tokenizer_file
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import build_model, describe_model, load_model, save_model
from tasks.publish import publish as publish_module
from tasks.publish.connection import connected
from tasks.samples import Samples
from tasks.store import Store, digest_file, digest_json

LABELS = ("no|pe", "yes")
ROWS = 12


@dataclass(frozen=True)
class Request:
    config: RunConfig
    store: Store
    tracking_uri: str
    run_id: str = "run-1"


@dataclass(frozen=True)
class Case:
    """All that `publish` takes."""

    verdict: Verdict
    checkpoint: CheckpointRef
    report: EvalReport
    valid: ValidatedRef
    features: dict[Any, FeatureRef]
    request: Request

    def publish(self, **changes: Any) -> ReleaseRef:
        case = replace(self, **changes)
        to = case.request
        inputs = publish_module.PublishInputs(case.verdict, case.checkpoint, case.report, case.valid, case.features)
        return publish_module.publish(inputs, to.config, to.store, to.tracking_uri, to.run_id)

    @property
    def place(self) -> tuple[Store, str]:
        return self.request.store, self.request.tracking_uri


MakeCase = Callable[..., Case]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    with connected(Store(folder), f"sqlite:///{folder}/mlflow.db"):
        return folder / "mlflow.db"


@pytest.fixture
def make_case(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCase:
    """Models of different seeds in one store with one registry; the current folder is an empty one."""
    cwd, store = tmp_path / "cwd", Store(tmp_path / "store")
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    store.prepare()
    shutil.copyfile(migrated, store.root / "mlflow.db")

    def make(
        seed: int = 0,
        champion: CheckpointRef | None = None,
        run_id: str = "run-1",
        accuracy: float = 0.9,
        tokenizer: bytes | None = None,
        encoder: Path | None = None,
    ) -> Case:
        """`encoder`: the folder of a frozen encoder of text, 32 wide."""
        return build_case(store, seed, champion, run_id, accuracy, tokenizer, encoder)

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the verifying process for granted: it costs seconds, and has tests of its own."""
    monkeypatch.setattr(publish_module, "run_verification", lambda *_: (0, "taken for granted"))


def build_case(
    store: Store,
    seed: int,
    champion: CheckpointRef | None,
    run_id: str,
    accuracy: float,
    tokenizer: bytes | None = None,
    encoder: Path | None = None,
) -> Case:
    text = "tiny" if encoder is None else f"hf:{encoder}"
    encoders, fusion = EncodersConfig(image="tiny", audio="off", text=text), FusionConfig(embed_dim=8, hidden=8)
    config = RunConfig(name="tiny", seed=seed, encoders=encoders, fusion=fusion)
    valid, features = make_samples(store), make_features(store, frozen=encoder is not None)
    checkpoint = make_checkpoint(store, valid, features, config, tokenizer)
    report = make_report(store, valid, features, checkpoint, champion, accuracy)
    verdict = gate(report, config, store)
    request = Request(config, store, f"sqlite:///{store.root}/mlflow.db", run_id)
    return Case(verdict, checkpoint, report, valid, features, request)


def make_samples(store: Store) -> ValidatedRef:
    rows = ROWS + 4
    columns = {
        "id": [f"s{row}" for row in range(rows)],
        "label": [LABELS[row % 2] for row in range(rows)],
        "split": ["train"] * 4 + ["test"] * ROWS,
        "group": [None] * rows,
        "targets": pa.nulls(rows, pa.string()),
        "weight": [1.0] * rows,
        "image": [None if row % 5 == 0 else f"image{row}" for row in range(rows)],
        "text": [None if row % 5 == 1 else f"text{row}" for row in range(rows)],
        "audio": [None] * rows,
        "video": [None] * rows,
        "row": list(range(1, rows + 1)),
        "table": pa.nulls(rows, pa.string()),
    }
    if store.find("validated", "k") is None:
        with store.create("validated", "k") as draft:
            pq.write_table(pa.table(columns, schema=samples_schema()), draft.path / "samples.parquet")
    clean = CleanRef(
        uri="validated/k", sha256=digest_json("clean"), rows=rows, labels=LABELS, modalities=("image", "text"),
        counts=RowCounts(rows_in=rows + 1, used=rows, quarantined=1, duplicates=0), media={},
        splits={"train": 4, "val": 0, "test": ROWS},
    )  # fmt: skip
    return ValidatedRef(uri="validated/k", sha256=digest_json("valid"), rows=rows, clean=clean, docs="validated/k")


def make_features(store: Store, frozen: bool = False) -> dict[Any, FeatureRef]:
    generator = np.random.default_rng(0)
    contents: dict[str, list[Any]] = {
        "image": [generator.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(ROWS + 4)],
        "text": [generator.integers(97, 122, (row + 3,), dtype=np.uint8) for row in range(ROWS + 4)],
    }
    if frozen:
        contents["text"] = [generator.standard_normal(32, np.float32) for _ in range(ROWS + 4)]
    found: dict[Any, FeatureRef] = {}
    for name, arrays in contents.items():
        dtype: Any = str(arrays[0].dtype)
        table = pa.table(
            {
                "digest": [f"{name}{row}" for row in range(len(arrays))],
                "shape": [list(array.shape) for array in arrays],
                "values": [array.ravel() for array in arrays],
            },
            schema=features_schema(dtype),
        )
        found[name] = FeatureRef(
            uri=f"features/{name}", sha256=digest_json(name), rows=len(arrays), modality=name, encoder="tiny",  # type: ignore[arg-type]
            fingerprint=digest_json(name), parts=(store.put_part(f"features/{name}", "k", table),), dtype=dtype,
            computed=0, reused=len(arrays),
        )  # fmt: skip
    return found


def make_checkpoint(
    store: Store,
    valid: ValidatedRef,
    features: dict[Any, FeatureRef],
    config: RunConfig,
    tokenizer: bytes | None = None,
) -> CheckpointRef:
    torch.manual_seed(config.seed)
    card, files = describe_model(valid, features, config), {}
    if tokenizer is not None:
        sha256 = hashlib.sha256(tokenizer).hexdigest()
        spec = card.encoders["text"].model_copy(update={"tokenizer_sha256": sha256})
        card = card.model_copy(update={"encoders": {**card.encoders, "text": spec}})
        files = {tokenizer_file(sha256): tokenizer}
    key = digest_json(["checkpoint", config.seed, sorted(files), config.encoders.text])
    if store.find("checkpoints", key) is None:
        with store.create("checkpoints", key) as draft:
            save_model(build_model(card), draft.path, card, files)
    sha256 = digest_file(store.path(f"checkpoints/{key}") / "model.safetensors")
    return CheckpointRef(
        uri=f"checkpoints/{key}", sha256=digest_json([sha256]), rows=4, model_sha256=sha256, train_key=key,
        modalities=("image", "text"), labels=LABELS, best_epoch=1, epochs=2,
    )  # fmt: skip


def make_report(
    store: Store,
    valid: ValidatedRef,
    features: dict[Any, FeatureRef],
    checkpoint: CheckpointRef,
    champion: CheckpointRef | None,
    accuracy: float,
) -> EvalReport:
    samples = Samples.read(store.path(valid.uri)).of_split("test")
    found = predict_probabilities(load_model(store.path(checkpoint.uri)), samples, features, store)
    key = digest_json(["report", checkpoint.uri, champion and champion.uri, accuracy])
    if store.find("evaluations", key) is None:
        table = pa.table(
            {
                "id": samples.column("id"),
                "label": samples.column("label"),
                "predicted": [LABELS[best] for best in found.argmax(axis=1)],
                "targets": pa.nulls(ROWS, pa.string()),
                "probability": found.max(axis=1),
                "probabilities": list(found),
                "modalities": ["image+text"] * ROWS,
            },
            schema=predictions_schema(),
        )
        with store.create("evaluations", key, [valid.uri, checkpoint.uri]) as draft:
            pq.write_table(table, draft.path / "predictions.parquet")
    figures = {"accuracy": accuracy, "macro_f1": accuracy, "auroc": None}
    champion_fields: dict[str, Any] = {}
    if champion is not None:
        champion_fields = {
            "champion_sha256": champion.model_sha256,
            "champion_version": "1",
            "champion_rows": 500,  # enough for a verdict
            "champion_metrics": figures,
            "differences": {"macro_f1": (0.0, -0.01, 0.01)},
        }
    return EvalReport(
        uri=f"evaluations/{key}", sha256=key, rows=ROWS, model_sha256=checkpoint.model_sha256,
        metrics={"test": figures}, intervals={"accuracy": (accuracy - 0.1, accuracy + 0.1)}, majority_share=0.5,
        by_modalities={"image": figures, "text": figures, "image+text": figures}, **champion_fields,
    )  # fmt: skip
