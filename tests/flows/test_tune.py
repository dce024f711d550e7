"""`crossmodal tune` from end to end: killed and started again, by two at once, refused, as a flow, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_contracts.run_summary import RunSummary
from data_contracts.tuning import TuneReport
from flows.cli import main
from flows.environment import new_run_id
from flows.request import Request, make_request, resolve_config
from flows.run_failed import RunFailed
from flows.tune_profile import MARK
from flows.tuning import tune_model
from tasks.errors import UsageError
from tasks.evaluate import trial_score
from tasks.retention.verify import Checked, verify_items
from tasks.store import Store
from tests.support.data import SMALL
from tests.waiting import wait_until

SPACE = (
    'tune.search_space={"train.learning_rate": {"type": "float", "low": 0.0001, "high": 0.01, "log": true}, '
    '"fusion.hidden": {"type": "categorical", "choices": [64, 128, 256]}}'
)
SLOW_LEARNER = ("train.learning_rate=0.0001", "tune.metric=log_loss", 'gate.rules=[{metric = "accuracy", min = 0.1}]')
"""Settings as they are that nearly any other is better than."""
SETTINGS = [*SMALL, "encoders.audio=off", "encoders.text=off", SPACE]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Path:
    return make_learnable(tmp_path_factory.mktemp("tune-data"))


def ask(data: Path, store: Path, *settings: str) -> Request:
    config = resolve_config(None, str(data), [*SETTINGS, "name=tones", *settings])
    return make_request(config, str(store), None, new_run_id())


def report_of(request: Request) -> TuneReport:
    return TuneReport.model_validate_json((request.folder / "tune.json").read_bytes())


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, RunSummary]:
    """A study of five trials, which later tests look at and go on with."""
    request = ask(data, tmp_path_factory.mktemp("tune") / "store", "tune.trials=5", *SLOW_LEARNER)
    return request, tune_model(request)


def test_a_search_leaves_a_report_a_json_a_profile_and_artifacts(done: tuple[Request, RunSummary]) -> None:
    request, summary = done
    report, found = report_of(request), summary.tune
    assert found is not None
    assert [trial.number for trial in report.trials] == list(range(5))
    assert report.trials[0].settings == {"train.learning_rate": 0.0001, "fusion.hidden": 256}
    assert report.defaults.trial == 0
    assert report.defaults.validation["log_loss"] == report.trials[0].values[0]
    best = min(trial.values[0] for trial in report.trials if trial.state == "complete")
    assert report.best.validation["log_loss"] == best == found.best
    assert (report.validation_rows, report.test_rows) == (20, 20)
    assert summary.finding == "better"
    assert summary.metrics["test"] == report.best.test
    assert "<title>tones: Better " in (request.folder / "report.html").read_text()
    assert [*verify_items(request.store.root, True, Checked())] == []
    refs = json.loads((request.folder / "refs.json").read_text())
    kept = json.loads((request.store.path(refs["study"]["uri"]) / "artifact.json").read_text())
    assert sum(uri.startswith("checkpoints/") for uri in kept["parents"]) == 2
    assert sum(uri.startswith("evaluations/") for uri in kept["parents"]) == 2


def test_the_saved_profile_is_one_that_retrain_takes_and_whose_model_is_the_best_trials(
    done: tuple[Request, RunSummary],
) -> None:
    request, summary = done
    found, report = summary.tune, report_of(request)
    assert found is not None
    profile = Path(str(found.profile))
    assert profile == request.store.root / "profiles" / "tones-tuned.toml"
    assert profile.read_text().startswith(MARK)
    config = resolve_config("tones-tuned", None, [], str(request.store.root))
    assert config.name == "tones"
    assert config.fusion.hidden == found.settings["fusion.hidden"]
    assert config.train.learning_rate == found.settings["train.learning_rate"]
    assert config.tune.search_space is None
    assert config.gate == request.config.gate
    from flows.execute import execute
    from flows.stages import Stages

    again = make_request(config, str(request.store.root), None, new_run_id())
    retrained = execute(again, Stages())
    assert retrained.model is not None
    assert retrained.model.sha256 == report.best.model_sha256


def test_test_rows_take_no_part_in_a_trial(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every test label turned round, all trials come to the same."""
    read = data.read_text().splitlines()
    turned = [line.replace(",low,", ",X,").replace(",high,", ",low,").replace(",X,", ",high,") for line in read]
    twisted = data.with_name("twisted.csv")
    twisted.write_text("\n".join(new if old.endswith("test") else old for old, new in zip(read, turned, strict=True)))
    reports = []
    for number, path in enumerate((data, twisted)):
        request = ask(path, tmp_path / str(number), "tune.trials=2", "train.epochs=2")
        tune_model(request)
        reports.append(report_of(request))
    trials = [[(t.settings, t.values, t.epochs) for t in report.trials] for report in reports]
    assert trials[0] == trials[1]
    assert reports[0].best.model_sha256 == reports[1].best.model_sha256
    assert reports[0].best.test != reports[1].best.test


def test_a_search_again_does_nothing_twice_and_a_larger_one_goes_on(
    done: tuple[Request, RunSummary], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = done[0].store.root
    before = {path: path.stat().st_mtime_ns for path in store.glob("checkpoints/*/model.safetensors")}
    again = ask(data, store, "tune.trials=5", *SLOW_LEARNER)
    tune_model(again)
    assert {path: path.stat().st_mtime_ns for path in store.glob("checkpoints/*/model.safetensors")} == before
    assert report_of(again).trials == report_of(done[0]).trials
    more = ask(data, store, "tune.trials=6", *SLOW_LEARNER)
    tune_model(more)
    assert report_of(more).trials[:5] == report_of(done[0]).trials
    assert len(report_of(more).trials) == 6


def test_what_a_trial_cannot_train_is_a_failed_trial_with_its_reason(data: Path, tmp_path: Path) -> None:
    space = 'tune.search_space={"train.learning_rate": {"type": "categorical", "choices": [0.003, 1e30]}}'
    request = ask(data, tmp_path / "s", space, "tune.trials=4", "train.max_grad_norm=1e30", "train.epochs=2")
    tune_model(request)
    report = report_of(request)
    failed = [trial for trial in report.trials if trial.state == "failed"]
    assert failed
    assert all("loss is" in str(trial.reason) for trial in failed)
    assert report.trials[0].state == "complete"


def test_several_objectives_have_a_front_and_costs_measured_once(data: Path, tmp_path: Path) -> None:
    settings = ('tune.objectives=["score", "latency_ms", "size_mb"]', "tune.trials=3", "train.epochs=2")
    request = ask(data, tmp_path / "s", *settings)
    tune_model(request)
    report = report_of(request)
    assert report.pareto
    assert set(report.pareto) <= {0, 1, 2}
    sizes = {trial.settings["fusion.hidden"]: trial.values[2] for trial in report.trials}
    assert sorted(sizes, key=int) == sorted(sizes, key=lambda hidden: sizes[hidden]), "a wider layer weighs more"
    assert report.best.inference is not None
    assert report.best.inference.row_ms == next(t for t in report.trials if t.number == report.best.trial).values[1]
    again = ask(data, tmp_path / "s", *settings)
    tune_model(again)
    assert report_of(again).trials == report.trials
    assert Counter(path.name for path in (tmp_path / "s" / trial_score.KIND).glob("*/trial.json"))["trial.json"] <= 3


def test_a_budget_ends_a_trial_which_the_next_run_takes_up(data: Path, tmp_path: Path) -> None:
    hidden = ("tune.trials=2", "train.epochs=6", "tune.pruner=none")
    whole = ask(data, tmp_path / "whole", *hidden)
    tune_model(whole)
    first = ask(data, tmp_path / "pieces", *hidden)
    cost = report_of(whole).trials[0].train_s
    for _ in range(12):
        spent = Store(tmp_path / "pieces").root
        request = ask(data, spent, *hidden, f"tune.timeout_s={max(0.05, cost / 2)}")
        try:
            summary = tune_model(request)
        except UsageError as error:
            if "no trial was complete within tune.timeout_s" not in str(error):
                raise
            continue
        assert summary.tune is not None
        if summary.tune.stopped is None:
            break
    summary = tune_model(first)
    assert report_of(first).best.model_sha256 == report_of(whole).best.model_sha256
    trials = [[(t.number, t.settings, t.values, t.epochs) for t in report_of(one).trials] for one in (whole, first)]
    assert trials[0] == trials[1]


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ("tune.search_space={}", 2, "there is nothing to tune"),
        ("tune.trials=0", 2, "tune.trials"),
        ('tune.search_space={"train.lr": {"type": "float", "low": 0, "high": 1}}', 2, "'train.lr' does not exist"),
        (
            'tune.search_space={"train.crop": {"type": "float", "low": 0.1, "high": 1}}',
            2,
            "mean 'train.min_crop_scale'?",
        ),
        ('tune.search_space={"fusion.dropout": {"type": "float", "low": 0, "high": 2}}', 2, "fusion.dropout"),
        ('tune.search_space={"fusion.dropout": {"type": "float", "low": 1, "high": 0}}', 2, "must be below"),
        ("tune.storage=postgresql://me:s3cret-word@127.0.0.1:1/x", 4, "database cannot be used"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, code: int, said: str
) -> None:
    store = tmp_path / "store"
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--data", str(data), "--store", str(store), "--set", setting])
    shown = capsys.readouterr().err
    assert ended.value.code == code
    assert said in shown
    assert "s3cret-word" not in shown
    assert len([line for line in shown.splitlines() if line.startswith("error:")]) == 1
    assert not (store / "raw").exists()
    assert not (store / "runs").exists()


def test_a_profile_of_somebody_elses_is_never_overwritten(data: Path, tmp_path: Path) -> None:
    request = ask(data, tmp_path / "store", "tune.trials=1")
    own = request.store.root / "profiles" / "tones-tuned.toml"
    own.parent.mkdir()
    own.write_text("# mine\n")
    with pytest.raises(UsageError, match="no search wrote it"):
        tune_model(request)
    with pytest.raises(UsageError, match="is not overwritten"):
        tune_model(request, "tones-tuned")
    assert own.read_text() == "# mine\n"
    assert not (request.store.root / "raw").exists()


def test_a_missing_package_is_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--data", str(data), "--store", str(tmp_path / "store")])
    assert ended.value.code == 4
    assert "pip install 'crossmodal[tune]'" in capsys.readouterr().err


def test_data_that_cannot_be_trained_on_end_as_any_run(data: Path, tmp_path: Path) -> None:
    lacking = data.with_name("lacking.csv")
    lacking.write_text("\n".join(line for line in data.read_text().splitlines() if not line.endswith(",train")))
    request = ask(lacking, tmp_path / "store")
    with pytest.raises(RunFailed, match="the train split has rows"):
        tune_model(request)
    assert json.loads((request.folder / "summary.json").read_text())["error"]


def command(data: Path, store: Path, *settings: str) -> list[str]:
    given = [argument for text in [*SETTINGS, "name=tones", *settings] for argument in ("--set", text)]
    return [sys.executable, "-m", "flows", "tune", "--data", str(data), "--store", str(store), "--json", *given]


def last_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_it_ends_as_if_undisturbed(data: Path, tmp_path: Path) -> None:
    """SIGKILL while a trial trains, several times, each time with the state of a step within an epoch on disk."""
    settings = ("tune.trials=4", "train.epochs=8", "train.batch_size=4", "train.checkpoint_steps=3")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(data, tmp_path / "whole", *settings), capture_output=True, text=True, env=environment, check=True
    )
    store = tmp_path / "killed"
    kills = sum(
        _killed_while_it_trains(command(data, store, *settings), store, trial, environment) for trial in range(3)
    )
    assert kills, "it was over before it could be killed"
    resumed = subprocess.run(
        command(data, store, *settings), capture_output=True, text=True, env=environment, check=True
    )
    reports = [
        TuneReport.model_validate_json((root / "runs" / last_json(text.stdout)["run"] / "tune.json").read_bytes())
        for root, text in ((tmp_path / "whole", done), (store, resumed))
    ]
    trials = [[(t.number, t.state, t.settings, t.values, t.epochs) for t in report.trials] for report in reports]
    assert trials[0] == trials[1]
    assert reports[0].best.model_sha256 == reports[1].best.model_sha256


def _killed_while_it_trains(words: list[str], store: Path, trials: int, environment: dict[str, str]) -> bool:
    """Whether the command was killed after so many trials, with a state of training on disk; False: it ended before."""
    worker = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    def due() -> bool:
        """Whether a state of the next trial was kept, or all is over."""
        states = [path for path in store.glob("work/train-*/*.safetensors") if path.stat().st_size]
        return worker.poll() is not None or bool(len(list(store.glob("checkpoints/*"))) >= trials and states)

    wait_until(due, "a state of training is on disk")
    killed = worker.poll() is None
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    return killed


@pytest.mark.slow
def test_as_a_flow_each_trial_is_a_task_that_does_not_fail_for_being_pruned(data: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.environment import use_prefect; use_prefect(Path(sys.argv[2])); "
        "from flows.tune import tune; import json; "
        "print(json.dumps(tune(data=sys.argv[1], trials=6, overrides=sys.argv[3:], store=sys.argv[2])))"
    )
    (tmp_path / "store").mkdir()
    words = [sys.executable, "-c", code, str(data), str(tmp_path / "store"), *SETTINGS, "name=tones"]
    environment = os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    summary = last_json(done.stdout)
    assert sum(summary["tune"]["trials"].values()) == 6
    logged = done.stdout + done.stderr
    assert all(f"Task run 'trial {number}' - Finished in state Completed()" in logged for number in range(6))
    assert (tmp_path / "store" / summary["report"]).is_file()


@pytest.mark.slow
def test_two_workers_share_the_trials_and_do_none_twice(data: Path, tmp_path: Path) -> None:
    settings = ("tune.trials=8", "tune.pruner=none", "train.epochs=3")
    store = tmp_path / "store"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            command(data, store, *settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    found = [last_json(out)["tune"] for out, _ in outputs]
    assert found[0] == found[1]
    assert found[0]["trials"]["complete"] == 8
    told = [line for _, err in outputs for line in err.splitlines() if line.startswith("train: 3 of 3")]
    different = {json.dumps(trial.settings) for trial in report_in(store).trials}
    assert len(told) == len(different) == len(list(store.glob("checkpoints/*")))


def report_in(store: Path) -> TuneReport:
    newest = max(store.glob("runs/*/tune.json"), key=lambda path: path.stat().st_mtime)
    return TuneReport.model_validate_json(newest.read_bytes())
