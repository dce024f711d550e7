"""Publishing end to end: what is logged, served, published again, and left by a kill at any step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.card import DecisionRule
from tasks.modeling.profile import read_profile_file
from tasks.modeling.training_rows import read_rows
from tasks.publish import registry, versions
from tasks.store import digest_file
from tests.support.registries import champion_version, client_of, logged

Case = Any  # conftest.Case
MakeCase = Callable[..., Any]


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
        SimpleNamespace(artifacts={"model.safetensors": str(logged(case) / "artifacts" / "model.safetensors")})
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


def test_a_version_brings_the_profile_of_its_rows_along(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    champion = registry.fetch_champion("tiny", "champion", *case.place)
    assert champion is not None
    profile = read_profile_file(case.request.store.path(champion.uri))
    assert profile.categories["image missing"] == {"missing": 1, "present": 3}  # of the 4 training rows
    assert sum(profile.categories["prediction"].values()) == 12
    assert profile.embeddings["text embedding"].dtype == np.float16
    assert len(profile.numbers["confidence"]) == 12
    client_of(case).delete_model_version_tag("tiny", "1", versions.PROFILE_SHA256)
    with pytest.raises(
        EnvironmentFailed, match=r"was not published by crossmodal \(no tag crossmodal\.profile_sha256\)"
    ):
        registry.fetch_champion("tiny", "champion", *case.place)


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
