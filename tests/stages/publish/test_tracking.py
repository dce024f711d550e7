"""What MLflow knows of runs: refused, failed and unchanged ones too; experiment, curves, dataset, pages, version page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from data_contracts.training_history import Epoch
from tasks.errors import EnvironmentFailed
from tasks.publish.tracking import RunRecord, describe_run, record_run, started_ms

MakeCase = Callable[..., Any]
EPOCHS = [
    Epoch(epoch=1, train_loss=2.0, val_loss=1.5, val_accuracy=0.5, learning_rate=0.002, seconds=1.5),
    Epoch(epoch=2, train_loss=1.0, val_loss=float("nan"), val_accuracy=0.7, learning_rate=0.001, seconds=2),
]
RUN_ID = "20261125-030000-1a2b3c4d"


def client_of(case: Any) -> MlflowClient:
    return MlflowClient(tracking_uri=case.request.tracking_uri, registry_uri=case.request.tracking_uri)


def runs_of(case: Any) -> list[Run]:
    client = client_of(case)
    return list(client.search_runs([client.get_experiment_by_name("tiny").experiment_id]))


def record_of(case: Any, folder: Path, **changes: Any) -> RunRecord:
    folder.mkdir(exist_ok=True)
    (folder / "report.html").write_text("<html>the report</html>")
    (folder / "confusion.svg").write_text("<svg/>")
    (folder / "docs" / "samples").mkdir(parents=True, exist_ok=True)
    (folder / "docs" / "samples" / "index.html").write_text("<html>docs</html>")
    record = RunRecord(
        name="tiny",
        run_id=RUN_ID,
        config=case.request.config,
        decision="reject",
        reason="rejected: too low",
        error=None,
        rows={"in": 17, "used": 16},
        seconds={"total": 12.5},
        tags={"profile": "tiny", "git_commit": "abc"},
        folder=folder,
        valid=case.valid,
        checkpoint=case.checkpoint,
        report=case.report,
        verdict=case.verdict,
        epochs=EPOCHS,
    )
    return replace(record, **changes)


def test_a_refused_run_is_logged_with_its_curves_its_data_and_its_pages(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    record = record_of(case, tmp_path / "run")
    record_run(record, *case.place)
    record_run(record, *case.place)  # again: nothing is added
    (run,) = runs_of(case)
    start = started_ms(RUN_ID)
    assert start is not None
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", start, start + 12_500)
    tags = run.data.tags
    assert {name: tags[name] for name in ("verdict", "profile", "git_commit", "data_sha256")} == {
        "verdict": "reject",
        "profile": "tiny",
        "git_commit": "abc",
        "data_sha256": case.valid.sha256,
    }
    assert tags["mlflow.note.content"].startswith("**reject**: rejected: too low\n\n| metric |")
    assert run.data.params["train.epochs"] == str(case.request.config.train.epochs)
    client = client_of(case)
    curve = [
        (point.step, point.value, point.timestamp) for point in client.get_metric_history(run.info.run_id, "train/loss")
    ]
    assert curve == [(1, 2.0, start + 1500), (2, 1.0, start + 3500)]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")] == [1], "NaN is no point"
    assert run.data.metrics["train/learning_rate"] == 0.001
    (dataset_input,) = run.inputs.dataset_inputs
    assert dataset_input.dataset.digest == case.valid.sha256[:36]
    assert '"num_rows": 16' in dataset_input.dataset.profile
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "report.html",
        "confusion.svg",
        "docs",
        "model_card.md",
    }


def test_the_experiment_opens_on_runs(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    client = client_of(case)
    place = case.place[0].root / "mlartifacts" / "tiny"
    client.create_experiment("tiny", artifact_location=place.as_uri())  # as an earlier crossmodal made it
    record_run(record_of(case, tmp_path / "run"), *case.place)
    assert client.get_experiment_by_name("tiny").tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_failed_run_says_why(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    error = "samples: expectation label_known broken by 3 of 17 rows"
    nothing = dict.fromkeys(("valid", "checkpoint", "report", "verdict"))
    record = record_of(case, tmp_path / "run", decision=None, error=error, epochs=(), **nothing)
    record_run(record, *case.place)
    (run,) = runs_of(case)
    assert (run.info.status, run.data.tags["verdict"], run.data.tags["error"]) == ("FAILED", "failed", error)
    assert run.data.metrics == {}


def test_an_unchanged_run_leaves_figures_and_no_pages(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    record_run(record_of(case, tmp_path / "run", decision="unchanged"), *case.place)
    (run,) = runs_of(case)
    assert (run.data.tags["verdict"], run.data.metrics["test/accuracy"]) == ("unchanged", 0.9)
    assert "train/loss" not in run.data.metrics
    assert client_of(case).list_artifacts(run.info.run_id) == []


def test_a_run_that_repeats_another_is_told_later_without_its_settings(make_case: MakeCase) -> None:
    case = make_case()
    runs = case.request.store.root / "runs"
    runs.mkdir()
    later = record_of(case, runs / "later", run_id="20261125-040000-1a2b3c4d", decision="unchanged", repeats="earlier")
    record_run(later, *case.place)
    assert client_of(case).get_experiment_by_name("tiny") is None
    for _ in range(2):  # the second time there is nothing left to tell
        record_run(record_of(case, runs / "next"), *case.place)
        assert not list(runs.glob("*/unlogged.json"))
    (run,) = (one for one in runs_of(case) if one.info.run_name == later.run_id)
    assert (run.data.params, run.data.tags["repeats"], run.data.metrics["test/accuracy"]) == ({}, "earlier", 0.9)
    assert (run.info.status, run.info.start_time, len(runs_of(case))) == ("FINISHED", started_ms(later.run_id), 2)


def test_a_run_of_prefect_that_repeats_another_is_logged_at_once(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    record = record_of(case, tmp_path / "run", decision="unchanged", repeats="earlier", under_prefect=True)
    record_run(record, *case.place)
    (run,) = runs_of(case)
    assert (run.data.params, run.data.tags["repeats"]) == ({}, "earlier")
    assert not (record.folder / "unlogged.json").exists()


def test_the_run_that_published_and_its_record_are_one(make_case: MakeCase, quick: None, tmp_path: Path) -> None:
    case = make_case(run_id=RUN_ID)
    case.publish()
    record_run(record_of(case, tmp_path / "run", decision="promote"), *case.place)
    (run,) = runs_of(case)
    assert (run.data.tags["verdict"], run.data.metrics["train/loss"]) == ("promote", 1.0)
    version = client_of(case).get_model_version("tiny", "1")
    assert version.run_id == run.info.run_id
    for recorded in (
        "| accuracy | 0.900 | 0.800 to 1.000 |",
        "train 4, val 0, test 12",
        'crossmodal.load("tiny@champion")',
    ):
        assert recorded in version.description
    assert "crossmodal models show tiny" in client_of(case).get_registered_model("tiny").description


def test_a_version_has_a_signature_and_an_example_that_it_can_answer(make_case: MakeCase, quick: None) -> None:
    import mlflow.pyfunc

    case = make_case()
    case.publish()
    (folder,) = (case.request.store.root / "mlartifacts" / "tiny").glob("*/artifacts/model")
    model = mlflow.pyfunc.load_model(str(folder))
    signature = model.metadata.signature
    assert signature is not None
    assert [(column.name, column.required) for column in signature.inputs] == [("image", False), ("text", False)]
    assert [column.name for column in signature.outputs] == ["no|pe", "yes"]
    example = model.input_example
    assert example["text"].tolist() == ["an example"]
    answer = model.predict(example)
    assert answer.shape == (1, 2)
    assert abs(float(answer.sum(axis=1)[0]) - 1) < 1e-5
    assert model.predict(example.drop(columns="image")).shape == (1, 2), "every input may be missing"


def test_a_registry_that_cannot_be_written_to_is_one_error(
    make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_artifact", full)
    with pytest.raises(EnvironmentFailed, match=r"pages of run 20261125-030000-1a2b3c4d cannot be logged .*No space"):
        record_run(record_of(case, tmp_path / "run"), *case.place)


def test_a_description_is_inert(make_case: MakeCase, tmp_path: Path) -> None:
    record = record_of(make_case(), tmp_path / "run", reason="<script>alert(1)</script> [x](http://a.b)")
    assert "<script" not in describe_run(record)
    assert "](http" not in describe_run(record)


@pytest.mark.parametrize(("run_id", "expected"), [("20260101-000000-aa", 1767225600000), ("run-1", None)])
def test_a_run_id_tells_when_the_run_began(run_id: str, expected: int | None) -> None:
    assert started_ms(run_id) == expected
