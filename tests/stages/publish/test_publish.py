from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from data_contracts.refs import RuleResult, Verdict
from tasks.errors import EnvironmentFailed, PromotionRefused, UsageError
from tasks.modeling.card import DecisionRule
from tasks.modeling.profile import read_profile_file
from tasks.modeling.training_rows import ROWS, read_rows
from tasks.monitor.monitor import monitor
from tasks.publish import publish as publish_module
from tasks.publish import registry, versions
from tasks.publish.verify import DIFFERENT, VerifyRequest, spread, verify
from tasks.store import digest_file

Case = Any  # conftest.Case
MakeCase = Callable[..., Any]


def client_of(case: Case) -> MlflowClient:
    return MlflowClient(tracking_uri=case.request.tracking_uri, registry_uri=case.request.tracking_uri)


def logged(case: Case) -> Path:
    (folder,) = (case.request.store.root / "mlartifacts" / "tiny").glob("*/artifacts/model")
    return folder


def champion_version(case: Case) -> str | None:
    found = registry.fetch_champion("tiny", "champion", *case.place)
    return None if found is None else found.version


def test_round_trip(make_case: MakeCase, capfd: pytest.CaptureFixture[str]) -> None:
    case = make_case()
    assert registry.fetch_champion("tiny", "champion", *case.place) is None
    release = case.publish()
    assert (release.name, release.version, release.alias) == ("tiny", "1", "champion")
    champion = registry.fetch_champion("tiny", "champion", *case.place)
    assert champion is not None
    store = case.request.store
    for name in ("model.safetensors", "model.json"):
        assert digest_file(store.path(champion.uri) / name) == digest_file(store.path(case.checkpoint.uri) / name)
    assert (champion.train_key, champion.base_key) == (case.checkpoint.train_key, case.checkpoint.base_key)
    rows = read_rows(store.path(champion.uri))
    assert rows is not None
    assert {split: len(digests) for split, digests in rows.items()} == {"train": 4, "val": 0, "test": 12}
    assert list(Path.cwd().iterdir()) == [], "something was written into the current folder"
    files = [path for path in (store.root / "mlartifacts").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {
        "MLmodel",
        "model.safetensors",
        "model.json",
        "README.md",
        "served_model.py",
    }
    assert [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin"}] == []
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    check_tracking(case)
    check_card(case)


def test_no_warning_reaches_the_user(make_case: MakeCase, quick: None, recwarn: pytest.WarningsRecorder) -> None:
    make_case().publish()
    assert [warning for warning in recwarn if not issubclass(warning.category, DeprecationWarning)] == []


def check_tracking(case: Case) -> None:
    client = client_of(case)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == str(case.request.config.train.epochs)
    assert run.data.params["encoders.audio"] == "off"
    assert run.data.metrics["test/accuracy"] == 0.9
    assert run.data.metrics["by_modalities/image-text/macro_f1"] == 0.9
    assert "test/auroc" not in run.data.metrics
    assert run.data.tags["crossmodal.model_sha256"] == case.checkpoint.model_sha256
    assert run.data.tags["crossmodal.run"] == "run-1"


def check_card(case: Case) -> None:
    card = (logged(case) / "artifacts" / "README.md").read_text()
    assert case.checkpoint.model_sha256 in card
    assert case.verdict.reason in card
    assert "| accuracy | 0.9000 | 0.8000 to 1.0000 |" in card
    assert "| auroc | – | – |" in card
    assert "| image+text | 0.9000 | 0.9000 |" in card
    assert "train 4, val 0, test 12" in card
    assert "no\\|pe" in card
    assert str(case.request.store.root) not in card


def test_mlflow_serves_what_was_evaluated(make_case: MakeCase, quick: None) -> None:
    import mlflow.pyfunc
    import pandas as pd

    case = make_case()
    case.publish()
    store = case.request.store
    samples = pq.read_table(store.path(case.valid.uri) / "samples.parquet", filters=[("split", "==", "test")])
    cells: dict[str, list[Any]] = {}
    for name, ref in case.features.items():
        table = pq.read_table(store.path(ref.parts[0])).to_pylist()
        known = {row["digest"]: shaped(row["values"], row["shape"]) for row in table}
        cells[name] = [known.get(digest) for digest in samples[name].to_pylist()]
    answer = mlflow.pyfunc.load_model(str(logged(case))).predict(pd.DataFrame(cells))
    expected = pq.read_table(store.path(case.report.uri) / "predictions.parquet")["probabilities"].to_pylist()
    assert list(answer.columns) == ["no|pe", "yes"]
    assert abs(answer.to_numpy() - expected).max() < 1e-6

    from tasks.publish.serving import PREDICTED, ServedModel

    served = ServedModel()
    served.load_context(
        SimpleNamespace(artifacts={"model.safetensors": f"{store.path(case.checkpoint.uri)}/model.safetensors"})
    )
    assert list(served.predict(None, pd.DataFrame(cells)).columns) == ["no|pe", "yes"]
    served.card = served.card.model_copy(update={"decision": DecisionRule(offsets=(50.0, 0.0))})
    decided = served.predict(None, pd.DataFrame(cells))
    assert set(decided[PREDICTED]) == {"no|pe"}
    assert abs(decided[["no|pe", "yes"]].to_numpy() - expected).max() < 1e-6


def shaped(values: list[int], shape: list[int]) -> Any:
    import numpy as np

    return np.array(values).reshape(shape).tolist()


def test_again_publishes_nothing(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    first = case.publish()
    assert case.publish(request=make_case(run_id="run-2").request) == first
    assert len(registry.show_model("tiny", *case.place)) == 1
    assert len(registry.history("tiny", *case.place)) == 1
    experiment = client_of(case).get_experiment_by_name("tiny")
    assert len(client_of(case).search_runs([experiment.experiment_id])) == 1


def test_tampered_bytes_do_not_become_champion(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    register = publish_module.register

    def tampering(*args: Any) -> Any:
        version = register(*args)
        weights = logged(case) / "artifacts" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        return version

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "register", tampering)
        with pytest.raises(EnvironmentFailed, match=r"model tiny version 1: model\.safetensors .* is damaged"):
            case.publish()
    assert champion_version(case) is None
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
    with pytest.raises(PromotionRefused, match="not verified"):
        registry.promote("tiny", "1", "champion", *case.place)


def test_bytes_that_predict_otherwise_do_not_become_champion(make_case: MakeCase) -> None:
    case, other = make_case(seed=0), make_case(seed=1)
    confused = case.report.model_copy(update={"uri": other.report.uri})
    with pytest.raises(EnvironmentFailed, match="do not reproduce the evaluation"):
        case.publish(report=confused)
    assert champion_version(case) is None
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
    assert case.publish().version == "2", "a sound publication afterwards takes a new version"
    assert champion_version(case) == "2"


def test_a_verifying_process_that_dies_condemns_nothing(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    monkeypatch.setattr(publish_module, "run_verification", lambda *_: (-9, "Killed"))
    with pytest.raises(EnvironmentFailed, match=r"ended with status -9 \(Killed\)"):
        case.publish()
    assert champion_version(case) is None
    monkeypatch.setattr(publish_module, "run_verification", lambda *_: (0, ""))
    assert case.publish().version == "1"


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


STEPS = [
    "create_experiment", "create_run", "log_batch", "log_artifacts", "set_terminated", "create_registered_model",
    "create_model_version", "set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias",
]  # fmt: skip


@pytest.mark.parametrize(("step", "after"), [*((step, False) for step in STEPS), (STEPS[-1], True)])
def test_killed_at_any_step_and_run_again(
    step: str, after: bool, make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()
    real = getattr(MlflowClient, step)

    def killed(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        if after:
            real(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, killed)
        with pytest.raises(Killed):
            case.publish()
    expected = "1" if (step, after) == ("set_registered_model_alias", True) else None
    assert champion_version(case) == expected
    assert case.publish().version == "1"
    assert champion_version(case) == "1"
    (entry,) = registry.show_model("tiny", *case.place)
    assert (entry["status"], entry["aliases"]) == ("verified", ["champion"])
    assert [move.version for move in registry.history("tiny", *case.place)] == ["1"]
    experiment = client_of(case).get_experiment_by_name("tiny")
    assert len(client_of(case).search_runs([experiment.experiment_id])) == 1


def refusals() -> Iterator[Any]:
    failing = RuleResult(
        rule="r", metric="accuracy", value=0.1, threshold=0.5, baseline="", n=1, outcome="fail", detail=""
    )
    yield pytest.param({"decision": "reject"}, id="rejected")
    yield pytest.param({"decision": "inconclusive"}, id="inconclusive")
    yield pytest.param({"decision": "needs-approval"}, id="needs approval")
    yield pytest.param({"rules": (failing,)}, id="promote with a failing rule")
    yield pytest.param({"model_sha256": "0" * 64}, id="on another model")
    yield pytest.param({"uri": "verdicts/" + "0" * 64}, id="not in the store")
    yield pytest.param({"reason": "because"}, id="not the stored one")


@pytest.mark.parametrize("changes", list(refusals()))
def test_only_a_passing_verdict_is_published(changes: dict[str, Any], make_case: MakeCase) -> None:
    case = make_case()
    forged = Verdict.model_validate(case.verdict.model_dump() | changes)
    with pytest.raises(PromotionRefused):
        case.publish(verdict=forged)
    assert registry.list_models(*case.place) == []


def test_a_verdict_against_a_former_champion_is_refused(make_case: MakeCase, quick: None) -> None:
    first, second = make_case(seed=0), make_case(seed=1)
    first.publish()
    with pytest.raises(PromotionRefused, match="judged against none"):
        second.publish()
    assert make_case(seed=1, champion=first.checkpoint).publish().version == "2"


def test_a_champion_that_changes_during_the_verification_is_not_overwritten(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint)
    third = make_case(seed=2, champion=second.checkpoint)
    first.publish()
    second.publish()

    def verify(*_: Any) -> tuple[int, str]:
        client_of(third).set_registered_model_alias("tiny", "champion", "1")  # by hand, in MLflow's own UI
        return 0, "the files are right"

    monkeypatch.setattr(publish_module, "run_verification", verify)
    with pytest.raises(PromotionRefused, match="the champion is now version 1"):
        third.publish()
    assert champion_version(third) == "1"


@pytest.mark.parametrize(("apart", "status"), [(0.0, 0), (5e-6, 0), (2e-5, DIFFERENT), (5e-3, DIFFERENT)])
def test_published_bytes_reproduce_every_probability_to_1e_5(
    make_case: MakeCase, apart: float, status: int, tmp_path: Path
) -> None:
    case = make_case()
    store = case.request.store
    table = pq.read_table(store.path(case.report.uri) / "predictions.parquet")
    rows = np.array(table["probabilities"].to_pylist())
    rows[7, 1] += apart
    column = table.schema.get_field_index("probabilities")
    table = table.set_column(column, "probabilities", pa.array(list(rows), pa.list_(pa.float64())))
    pq.write_table(table, store.path("predictions.parquet"))
    request = VerifyRequest(
        folder=str(store.path(case.checkpoint.uri)), store=str(store.root), rows=64, features=case.features,
        samples=case.valid.uri, predictions="predictions.parquet",
    )  # fmt: skip
    assert verify(request).status == status


def test_a_damaged_published_file_is_named(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    uri = case.publish().uri
    (case.request.store.path(uri) / "model.json").write_text("{}")
    (logged(case) / "artifacts" / "model.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(EnvironmentFailed, match=r"model tiny version 1: model\.json .* is damaged"):
        registry.fetch_champion("tiny", "champion", *case.place)
    (logged(case) / "artifacts" / "model.json").unlink()
    with pytest.raises(EnvironmentFailed, match=r"model\.json cannot be fetched"):
        registry.fetch_champion("tiny", "champion", *case.place)


def test_a_model_needs_a_name(make_case: MakeCase) -> None:
    case = make_case()
    request = type(case.request)(case.request.config.model_copy(update={"name": None}), *case.place)
    with pytest.raises(UsageError, match="model name None"):
        case.publish(request=request)


def test_the_stage_imports_cheaply() -> None:
    code = (
        "import sys, tasks.publish.publish, tasks.publish.registry, tasks.gate.gate;"
        "print([name for name in ('mlflow', 'torch', 'pandas', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("total", "wanted"), [(0, 5), (1, 5), (5, 5), (500, 64), (10_000, 1)])
def test_verified_rows_are_spread(total: int, wanted: int) -> None:
    rows = spread(total, wanted)
    assert len(rows) == min(total, wanted)
    assert rows == sorted(set(rows))
    assert all(0 <= row < total for row in rows)
    if wanted > 1 and total > 1:
        assert (rows[0], rows[-1]) == (0, total - 1)


def test_a_version_published_before_rows_were_kept_is_still_a_champion(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    client = client_of(case)
    client.delete_model_version_tag("tiny", "1", versions.ROWS_SHA256)
    client.delete_model_version_tag("tiny", "1", versions.BASE_KEY)
    champion = registry.fetch_champion("tiny", "champion", *case.place)
    assert champion is not None
    assert champion.base_key is None
    assert not (case.request.store.path(champion.uri) / ROWS).exists()


def test_a_version_brings_the_profile_of_its_rows_along(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    champion = registry.fetch_champion("tiny", "champion", *case.place)
    assert champion is not None
    profile = read_profile_file(case.request.store.path(champion.uri))
    assert profile is not None
    assert profile.categories["image missing"] == {"missing": 1, "present": 3}  # of the 4 training rows
    assert sum(profile.categories["prediction"].values()) == 12
    assert profile.embeddings["text embedding"].dtype == np.float16
    assert len(profile.numbers["confidence"]) == 12
    # One of before is a champion, too, but cannot be monitored.
    client_of(case).delete_model_version_tag("tiny", "1", versions.PROFILE_SHA256)
    older = registry.fetch_champion("tiny", "champion", *case.place)
    assert older is not None
    assert read_profile_file(case.request.store.path(older.uri)) is None
    with pytest.raises(EnvironmentFailed, match="tiny version 1: was published without a profile"):
        monitor(case.valid.clean, case.features, older, case.request.config, case.request.store)


def test_a_label_column_may_be_called_anything(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    names = ("size", "größe: (cm)+", "größe: [cm]+", "../x", "?")
    metrics = case.report.metrics | {name: {"mae": float(n)} for n, name in enumerate(names)}
    case.publish(report=case.report.model_copy(update={"metrics": metrics}))
    client = client_of(case)
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    own = {key: value for key, value in run.data.metrics.items() if key.startswith("columns/")}
    assert sorted(own.values()) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert own["columns/size/mae"] == 0.0
    assert run.data.metrics["test/accuracy"] == 0.9


def test_a_tokenizer_is_published_with_its_model(make_case: MakeCase, quick: None) -> None:
    case = make_case(tokenizer=b'{"model": {}}')
    release = case.publish()
    (file,) = (logged(case) / "artifacts").glob("tokenizer-*.json")
    assert file.read_bytes() == b'{"model": {}}'
    store = case.request.store
    assert digest_file(store.path(release.uri) / file.name) == digest_file(file)


@pytest.mark.parametrize("damage", ["edited", "lost"])
def test_a_damaged_tokenizer_does_not_become_champion(
    damage: str, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(tokenizer=b'{"model": {}}')
    register = publish_module.register

    def tampering(*args: Any) -> Any:
        version = register(*args)
        (file,) = (logged(case) / "artifacts").glob("tokenizer-*.json")
        file.unlink() if damage == "lost" else file.write_text('{"model": {"type": "BPE"}}')
        return version

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "register", tampering)
        expected = r"tokenizer-\w+\.json " + ("cannot be fetched" if damage == "lost" else "at .* is damaged")
        with pytest.raises(EnvironmentFailed, match=expected):
            case.publish()
    assert champion_version(case) is None
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
