"""`crossmodal compare` from end to end: killed and started again, by two at once, refused, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_contracts.comparison import ANSWERS, CompareReport, FitRef
from data_contracts.run_summary import RunSummary
from flows.cli import main
from flows.comparing import compare_models
from flows.environment import new_run_id
from flows.request import Request, make_request, resolve_config
from flows.run_failed import RunFailed
from tasks.compare import fits
from tasks.retention.verify import Checked, verify_items
from tasks.store import Store
from tests.support.data import SMALL
from tests.waiting import wait_until

SETTINGS = [*SMALL, "train.epochs=2", "compare.seeds=2", "encoders.text=off"]
ALL = 'compare.variants=["modalities", "fusion-gated", "classical", "gru-audio", "custom"]'
FEW = ('compare.variants=["no-augmentation", "hog-svm"]', "encoders.audio=off")
CUSTOM = 'compare.custom={"wide": {"fusion.hidden": 512}}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Path:
    return make_learnable(tmp_path_factory.mktemp("compare-data"))


def ask(data: Path, store: Path, *settings: str) -> Request:
    config = resolve_config(None, str(data), [*SETTINGS, "name=tones", *settings])
    return make_request(config, str(store), None, new_run_id())


def report_of(request: Request) -> CompareReport:
    return CompareReport.model_validate_json((request.folder / "compare.json").read_bytes())


def fits_of(store: Path) -> dict[str, FitRef]:
    found = (json.loads(path.read_text()) for path in store.glob(f"{fits.KIND}/*/artifact.json"))
    return {record["key"]: FitRef.model_validate(record["ref"]) for record in found}


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, RunSummary]:
    """A comparison of nearly all that there is, which later tests look at."""
    request = ask(data, tmp_path_factory.mktemp("compare") / "store", ALL, CUSTOM)
    return request, compare_models(request)


def test_a_comparison_leaves_a_report_a_json_and_artifacts(done: tuple[Request, RunSummary]) -> None:
    request, summary = done
    report, found = report_of(request), summary.compare
    assert found is not None
    names = [variant.name for variant in report.variants]
    assert names[0] == report.reference == "profile"
    assert {*names[1:]} == {
        *("image-only", "audio-only", "fusion-gated", "hog-svm", "mfcc-svm", "gru-audio", "wide"),
    }
    assert [variant.name for variant in found.variants] == names
    for variant in report.variants:
        deterministic = variant.method not in ("network", "recurrent")
        assert len(variant.scores) == (1 if deterministic else 2)
        assert (variant.difference is None) == (variant.name == "profile")
        assert variant.cost.train_s is not None
        assert variant.cost.parameters
    assert all(each.reason for each in report.not_run)
    assert "compare.json" in {path.name for path in request.folder.iterdir()}
    assert "<title>tones: " in (request.folder / "report.html").read_text()
    assert [*verify_items(request.store.root, True, Checked())] == []
    refs = json.loads((request.folder / "refs.json").read_text())
    kept = json.loads((request.store.path(refs["comparison"]["uri"]) / "artifact.json").read_text())
    assert len(kept["parents"]) == len(fits_of(request.store.root))


@pytest.mark.slow
def test_the_reference_is_the_model_that_a_retrain_of_its_seed_makes(done: tuple[Request, RunSummary]) -> None:
    request, _ = done
    from flows.execute import execute
    from flows.stages import Stages

    again = make_request(request.config, str(request.store.root), None, new_run_id())
    retrained = execute(again, Stages())
    checkpoints = {fit.checkpoint.model_sha256: fit for fit in fits_of(request.store.root).values() if fit.checkpoint}
    assert retrained.model is not None
    assert retrained.model.sha256 in checkpoints
    reference = report_of(request).variants[0]
    assert retrained.metrics["test"]["macro_f1"] == pytest.approx(reference.scores[0], abs=1e-6)


def test_again_nothing_is_fitted_and_another_name_for_the_same_settings_is_the_same_fit(
    done: tuple[Request, RunSummary], data: Path
) -> None:
    store = done[0].store.root
    before = fits_of(store)
    again = ask(data, store, ALL, CUSTOM)
    compare_models(again)
    renamed = ask(data, store, 'compare.variants=["custom"]', CUSTOM.replace("wide", "wider"))
    compare_models(renamed)
    assert fits_of(store) == before
    assert report_of(again).variants == report_of(done[0]).variants
    assert report_of(renamed).variants[1].scores == next(
        variant.scores for variant in report_of(done[0]).variants if variant.name == "wide"
    )


def test_any_variant_can_be_the_reference(done: tuple[Request, RunSummary], data: Path) -> None:
    request = ask(data, done[0].store.root, 'compare.variants=["image-only"]', "compare.reference=hog-svm")
    compare_models(request)
    report = report_of(request)
    assert report.variants[0].name == "hog-svm"
    assert {variant.name for variant in report.variants} == {"hog-svm", "profile", "image-only"}


@pytest.mark.slow
def test_test_labels_change_no_choice(data: Path, done: tuple[Request, RunSummary], tmp_path: Path) -> None:
    """With every test label turned round, each model gives the same answers, and all that was chosen is the same."""
    read = data.read_text().splitlines()
    turned = [line.replace(",low,", ",X,").replace(",high,", ",low,").replace(",X,", ",high,") for line in read]
    twisted = data.with_name("twisted.csv")
    twisted.write_text("\n".join(new if old.endswith("test") else old for old, new in zip(read, turned, strict=True)))
    request = ask(twisted, tmp_path / "s", ALL, CUSTOM)
    compare_models(request)

    def answers(store: Path) -> list[tuple[str, int, str, object]]:
        """Of every fit."""
        found = []
        for key, fit in fits_of(store).items():
            table = pq.read_table(store / fits.KIND / key / ANSWERS).sort_by("id")
            found.append((fit.method, fit.seed, json.dumps(fit.chosen), table["outputs"].to_pylist()))
        return sorted(found, key=repr)

    assert answers(tmp_path / "s") == answers(done[0].store.root)
    assert report_of(request).variants[0].mean != report_of(done[0]).variants[0].mean


@pytest.mark.slow
def test_several_label_columns_are_compared_with_the_first_alone(data: Path, tmp_path: Path) -> None:
    rows = data.read_text().splitlines()
    place = rows[0].split(",").index("label")
    several = data.with_name("several.csv")
    lines = [f"{rows[0]},tone"] + [f"{row},{row.split(',')[place]}" for row in rows[1:]]
    several.write_text("\n".join(lines))
    request = ask(several, tmp_path / "s", 'data.columns.labels=["label", "tone"]', 'compare.variants=["tasks"]')
    compare_models(request)
    assert [variant.name for variant in report_of(request).variants] == ["profile", "single-task"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variants", ""], "empty string"),
        (["--variants", ","], "there is nothing to compare"),
        (["--seeds", "1"], "with fewer than two seeds nothing tells a better variant from a luckier start"),
        (["--variants", "modalites"], "did you mean 'modalities'?"),
        (["--variants", "video-only"], "variant video-only does not apply: the model has no video"),
        (["--reference", "hog"], "did you mean 'hog-svm'?"),
        (["--variants", "fusion", "--set", "encoders.audio=off"], "nothing is left to compare with profile"),
        (["--set", "compare.metric=rmse"], "multiclass has no such metric"),
        (
            [
                "--variants",
                "backbones",
                "--set",
                'compare.backbones={"image": ["torchvision:resnet18@/no/such.safetensors"]}',
            ],
            "/no/such.safetensors",
        ),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    store = tmp_path / "store"
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--data", str(data), "--store", str(store), "--set", "encoders.text=off", *arguments])
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in shown
    assert len([line for line in shown.splitlines() if line.startswith("error:")]) == 1
    assert not (store / "clean").exists()
    assert not (store / fits.KIND).exists()


def test_two_classes_with_five_rows_are_refused_before_anything_is_fitted(data: Path, tmp_path: Path) -> None:
    rows = data.read_text().splitlines()
    few = data.with_name("few.csv")
    few.write_text("\n".join([rows[0], *rows[1:6]]))
    request = ask(few, tmp_path / "store")
    with pytest.raises(RunFailed) as refused:
        compare_models(request)
    assert refused.value.error.exit_code == 3
    assert not (tmp_path / "store" / fits.KIND).exists()
    assert json.loads((request.folder / "summary.json").read_text())["error"]


def test_a_variant_that_cannot_be_trained_is_left_out_with_its_reason(data: Path, tmp_path: Path) -> None:
    bad = 'compare.custom={"bad": {"train.learning_rate": 1e30, "train.max_grad_norm": 1e30}}'
    request = ask(data, tmp_path / "s", bad, 'compare.variants=["bad", "hog-svm"]', "encoders.audio=off")
    compare_models(request)
    report = report_of(request)
    assert [variant.name for variant in report.variants] == ["profile", "hog-svm"]
    assert "loss is" in next(each.reason for each in report.not_run if each.name == "bad")
    alone = ask(data, tmp_path / "s", bad, 'compare.variants=["bad"]', "encoders.audio=off")
    with pytest.raises(RunFailed, match="bad cannot be fitted"):
        compare_models(alone)


def command(data: Path, store: Path, *settings: str) -> list[str]:
    given = [argument for text in [*SETTINGS, "name=tones", *settings] for argument in ("--set", text)]
    return [sys.executable, "-m", "flows", "compare", "--data", str(data), "--store", str(store), "--json", *given]


def figures(report: CompareReport) -> list[tuple[object, ...]]:
    """All that does not tell how long it took."""
    return [(v.name, v.scores, v.difference, v.conclusion, v.rank, v.chosen) for v in report.variants]


def report_in(store: Path) -> CompareReport:
    """Of the last run that ended."""
    return CompareReport.model_validate_json(sorted(store.glob("runs/*/compare.json"))[-1].read_bytes())


@pytest.mark.slow
def test_killed_several_times_it_ends_as_if_undisturbed(data: Path, tmp_path: Path) -> None:
    """SIGKILL after every few fits, one of them within a training."""
    settings = ("train.epochs=4", "train.batch_size=4", "train.checkpoint_steps=3", *FEW)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole, store = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(data, whole, *settings), capture_output=True, env=environment, check=True)
    kills = sum(_killed_after(command(data, store, *settings), store, count, environment) for count in (0, 1, 3))
    assert kills, "it was over before it could be killed"
    subprocess.run(command(data, store, *settings), capture_output=True, env=environment, check=True)
    assert figures(report_in(store)) == figures(report_in(whole))
    assert fits_of(store).keys() == fits_of(whole).keys()
    resumed = [fit for fit in fits_of(store).values() if fit.cost.cpu_s is None]
    assert all(fit.cost.train_s for fit in resumed), "of the epochs of all processes"


def _killed_after(words: list[str], store: Path, count: int, environment: dict[str, str]) -> bool:
    """Whether the command was killed after so many fits, with a state of training on disk; False: it ended before."""
    worker = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    def due() -> bool:
        """Whether a state of the next fit's training was kept, or all is over."""
        states = [path for path in store.glob("work/train-*/*.safetensors") if path.stat().st_size]
        return worker.poll() is not None or bool(len(fits_of(store)) >= count and states)

    wait_until(due, "a state of training is on disk")
    killed = worker.poll() is None
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    return killed


@pytest.mark.slow
def test_two_at_once_share_the_fits_and_end_with_the_same_figures(data: Path, tmp_path: Path) -> None:
    words = command(data, tmp_path / "store", *FEW)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    trained = sum(line.startswith("train: 2 of 2") for text in said for line in text.splitlines())
    networks = sum(fit.method == "network" for fit in fits_of(tmp_path / "store").values())
    assert trained <= networks, "no training was done twice"
    reports = [
        CompareReport.model_validate_json(path.read_bytes())
        for path in (tmp_path / "store").glob("runs/*/compare.json")
    ]
    assert len(reports) == 2
    assert reports[0].variants == reports[1].variants
    assert [*(tmp_path / "store" / "trash").glob("*")] == []


@pytest.mark.slow
def test_as_a_flow_each_fit_is_a_task(data: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.environment import use_prefect; use_prefect(Path(sys.argv[2])); "
        "from flows.compare import compare; import json; "
        "print(json.dumps(compare(data=sys.argv[1], variants='image-only', seeds=2, "
        "overrides=sys.argv[3:], store=sys.argv[2])))"
    )
    (tmp_path / "store").mkdir()
    words = [sys.executable, "-c", code, str(data), str(tmp_path / "store"), *SETTINGS, "name=tones"]
    environment = os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
    ended = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    summary = json.loads(ended.stdout.strip().splitlines()[-1])
    assert summary["flow"] == "compare"
    assert [variant["name"] for variant in summary["compare"]["variants"]] == ["profile", "image-only"]
    assert ended.stderr.count("Finished in state Completed") >= 4, "two variants from two seeds"
    assert Store(tmp_path / "store").path(summary["report"]).is_file()
