"""encoders.KIND = auto: which encoders are tried, by what one is chosen, and that all that follows knows that one only."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.encoder_choice import ComparedEncoders, PairedLosses
from data_contracts.refs import CheckpointRef
from data_contracts.run_summary import RunSummary
from flows.auditing import audit_manifest
from flows.comparing import compare_models
from flows.encoder_choice import Encoders, find_choice
from flows.execute import execute
from flows.history import run_config, run_refs
from flows.plan import plan_retrain
from flows.preflight import preflight
from flows.request import Request, make_request
from flows.run_failed import RunFailed
from flows.stages import Stages, train_here
from flows.translating import translate_manifest
from flows.tuning import tune_model
from tasks.config import load_config
from tasks.encoder_choice import (
    MOST_ROWS,
    blended,
    blends,
    describe_choice,
    encoders_to_try,
    open_modalities,
    why_no_choice,
)
from tasks.encoder_ids import BLEND
from tasks.errors import DataError, EnvironmentFailed, UsageError
from tasks.store import Store
from tasks.train.paired_losses import KIND, stored_losses
from tasks.train.request import TrainRequest
from tests.support.data import SMALL, write_learnable

SETTINGS = [
    *SMALL,
    *("name=chosen", "encoders.text=auto", "encoders.image=off", "encoders.audio=off", "evaluate.robustness=off"),
    *("gate.margin=1", "gate.min_rows=20", "gate.rules=[]", "split.near_duplicates=false", "train.heads=single"),
]
BOTH = ("encoders.image=auto",)
RETRIEVAL = ("translate.source=text", "translate.target=image", "translate.generator=retrieval")
TINY: Encoders = {"image": "tiny", "text": "tiny"}
CROSSMODAL = str(Path(sys.executable).parent / "crossmodal")
CLASSICAL: Encoders = {"image": "classical", "text": "classical"}


def request_for(folder: Path, *settings: str, run: str = "again") -> Request:
    config = load_config({}, [*SETTINGS, f"data.path={folder / 'data/manifest.csv'}", *settings])
    return make_request(config, str(folder / "store"), None, run)


def checkpoints(folder: Path) -> set[str]:
    return {path.name for path in (folder / "store/checkpoints").iterdir()}


def checkpoint_at(folder: Path, uri: str) -> CheckpointRef:
    found = Store(folder / "store", "look").find("checkpoints", uri.rpartition("/")[2])
    assert found is not None
    return CheckpointRef.model_validate(found.ref)


def chosen_of(summary: RunSummary) -> ComparedEncoders:
    assert summary.encoder_choice is not None
    (chosen,) = (one for one in summary.encoder_choice.compared if one.chosen)
    return chosen


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a champion whose encoder of texts was chosen."""
    folder = tmp_path_factory.mktemp("choice")
    write_learnable(folder / "data", rows=60)
    summary = execute(request_for(folder, run="first"), Stages())
    assert summary.verdict == "promote", summary.reason
    return folder


@pytest.fixture
def folder(retrained: Path, tmp_path: Path) -> Path:
    """The data and the store of a completed run, to be changed."""
    return shutil.copytree(retrained, tmp_path / "copy")


def test_the_validation_rows_decide_and_all_that_follows_knows_one_encoder(retrained: Path) -> None:
    summary = RunSummary.model_validate_json((retrained / "store/runs/first/summary.json").read_text())
    assert summary.encoder_choice is not None
    compared = summary.encoder_choice.compared
    assert [one.encoders["text"] for one in compared] == ["tiny", "classical", BLEND]
    tiny, classical, both = compared
    assert tiny.loss is not None
    assert classical.loss is not None
    assert both.loss is not None
    paired = stored_losses(
        *(checkpoint_at(retrained, one.uri) for one in (tiny, classical)), Store(retrained / "store", "look")
    )
    assert paired is not None
    assert paired.losses == (tiny.loss, classical.loss)
    alone = "tiny" if classical.loss - tiny.loss > 2 * (paired.standard_error or 0) else "classical"
    best_encoder = BLEND if both.loss <= min(tiny.loss, classical.loss) else alone
    assert summary.encoder_choice.encoders == {"text": best_encoder}
    read = {BLEND: "tiny"}.get(best_encoder, best_encoder)
    for one in (tiny, classical):
        history = json.loads((retrained / "store" / one.uri / "history.json").read_text())
        assert one.figures == {"val_accuracy": history["epochs"][history["best_epoch"] - 1]["val_accuracy"]}
        temperature = history["temperature"]
        answered = temperature["scaled_nll"] if temperature["used"] else temperature["nll"]
        assert one.loss == pytest.approx(answered, abs=1e-4)

    store = Store(retrained / "store", "look")
    refs = run_refs(store, "first")
    assert refs.checkpoint is not None
    assert refs.checkpoint.uri == chosen_of(summary).uri
    card = json.loads((store.path(refs.checkpoint.uri) / "model.json").read_text())
    assert card["config"]["encoders"]["text"] == card["encoders"]["text"]["encoder"] == read
    assert ("blend" in card) == (best_encoder == BLEND)
    assert {ref.encoder for ref in refs.features.values()} == {read}
    assert run_config(store, "first").encoders.text == read
    assert json.loads((store.root / "runs/first/config.json").read_text())["encoders"]["text"] == "auto"
    note = describe_choice(summary.encoder_choice)
    assert note in (summary.notes or ())
    assert f"tiny (loss {tiny.loss:.4f}, " in note
    page = (store.root / "runs/first/report.html").read_text()
    assert "encoders.text = auto" in page
    assert f"{tiny.loss:.4f}" in page
    assert f"{classical.loss:.4f}" in page


def test_an_unchanged_run_trains_nothing_and_neither_does_one_that_names_an_encoder(folder: Path) -> None:
    before = checkpoints(folder)
    again = execute(request_for(folder), Stages(train=_found))
    assert again.verdict == "unchanged"
    assert again.encoder_choice is not None
    (tiny,) = (one for one in again.encoder_choice.compared if one.encoders == {"text": "tiny"})
    named = execute(request_for(folder, "encoders.text=tiny", run="named"), Stages(train=_found))
    assert (named.verdict == "unchanged", named.encoder_choice) == (tiny.chosen, None)
    refs = run_refs(Store(folder / "store", "look"), "named")
    assert refs.checkpoint is not None
    assert refs.checkpoint.uri == tiny.uri
    assert checkpoints(folder) == before


def _found(request: TrainRequest, store: Store) -> CheckpointRef:
    """What the store has."""
    before = set((store.root / "checkpoints").iterdir())
    ref = train_here(request, store)
    assert set((store.root / "checkpoints").iterdir()) == before
    return ref


def test_permuted_test_labels_change_no_choice(folder: Path) -> None:
    summary = execute(request_for(folder), Stages())
    manifest = folder / "data/manifest.csv"
    names, *rows = (line.split(",") for line in manifest.read_text().splitlines())
    label, split = names.index("label"), names.index("split")
    test = [row for row in rows if row[split] == "test"]
    labels = [row[label] for row in test]
    for row, other in zip(test, [*labels[1:], labels[0]], strict=True):
        row[label] = other
    manifest.write_text("\n".join(map(",".join, [names, *rows])) + "\n")
    permuted = execute(request_for(folder, run="permuted"), Stages(train=_found))
    assert permuted.metrics["test"]["accuracy"] != summary.metrics["test"]["accuracy"]
    assert permuted.encoder_choice == summary.encoder_choice


def test_a_run_that_was_killed_goes_on(folder: Path) -> None:
    asked: list[str] = []

    def dies(request: TrainRequest, store: Store) -> CheckpointRef:
        """The machine fails before the second training."""
        asked.append(request.config.encoders.text)
        if len(asked) == 2:
            raise EnvironmentFailed("power is off")
        return train_here(request, store)

    before = checkpoints(folder)
    with pytest.raises(RunFailed, match="power is off"):
        execute(request_for(folder, "seed=1", run="killed"), Stages(train=dies))
    assert asked == ["tiny", "classical"]
    (first,) = checkpoints(folder) - before
    summary = execute(request_for(folder, "seed=1"), Stages())
    assert summary.encoder_choice is not None
    tiny, classical, both = summary.encoder_choice.compared
    assert tiny.uri.endswith(first)
    assert checkpoints(folder) - before == {first, *(one.uri.rpartition("/")[2] for one in (classical, both))}


def test_the_plan_knows_a_choice_whose_trainings_are_in_the_store(retrained: Path) -> None:
    lines = {line["stage"]: line for line in plan_retrain(request_for(retrained))}
    assert {line["action"] for line in lines.values()} == {"reuse"}
    assert "the validation rows chose" in lines["train"]["why"]
    anew = [line["stage"] for line in plan_retrain(request_for(retrained, "seed=1")) if line["action"] == "compute"]
    assert anew[:2] == ["train, tiny", "train, classical"]


@pytest.mark.parametrize("command", [["plan"], ["retrain", "--plain"]])
def test_where_nothing_has_changed_nothing_heavy_is_imported(folder: Path, command: list[str]) -> None:
    both = (*BOTH, "name=both")
    execute(request_for(folder, *both), Stages())
    place = ["--data", str(folder / "data/manifest.csv"), "--store", str(folder / "store"), "--json"]
    arguments = [*command, *place, *(word for setting in (*SETTINGS, *both) for word in ("--set", setting))]
    code = "import atexit, sys; from flows.cli import main; atexit.register(lambda: print(*sys.modules)); main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    *_, answer, modules = done.stdout.splitlines()
    found = json.loads(answer)
    assert found.get("verdict") == "unchanged" or {line["action"] for line in found["plan"]} == {"reuse"}
    assert set(modules.split()) & {"torch", "prefect", "great_expectations", "mlflow", "sklearn"} == set()


@pytest.mark.parametrize("continue_from", ["champion", "auto"])
def test_a_champion_of_the_other_encoder_breaks_neither_comparison_nor_warm_start(
    folder: Path, continue_from: str
) -> None:
    summary = execute(request_for(folder), Stages())
    other = "tiny" if chosen_of(summary).encoders["text"] == "tiny" else "classical"
    rest = "tiny" if other == "classical" else "classical"
    named = (f"encoders.text={rest}", "seed=1", "name=other")
    assert execute(request_for(folder, *named, run="other"), Stages()).verdict == "promote"
    asked = ("seed=2", "name=other", f"train.continue_from={continue_from}", "gate.approval=required")
    found = execute(request_for(folder, *asked, run="open"), Stages())
    assert found.verdict == "needs-approval"
    (compared,) = (rule for rule in found.rules or () if rule.rule.endswith("not worse than the champion"))
    assert "no champion" not in compared.detail
    refs = run_refs(Store(folder / "store", "look"), "open")
    assert refs.encoder_choice is not None
    by_encoder = {one.encoders["text"]: one for one in refs.encoder_choice.compared}
    histories = {
        name: json.loads((folder / "store" / one.uri / "history.json").read_text()) for name, one in by_encoder.items()
    }
    assert "start" in histories[rest], "the champion's own encoder goes on from its weights"
    assert "start" not in histories[other], "the other one does not"
    again = execute(request_for(folder, *asked, run="again-open"), Stages(train=_found))
    assert again.encoder_choice == found.encoder_choice


def test_a_training_that_fails_leaves_the_choice_to_the_others(folder: Path) -> None:
    def train(request: TrainRequest, store: Store) -> CheckpointRef:
        """The stage, which fails with classical features."""
        if request.config.encoders.text == "classical":
            raise DataError("training: the loss is not finite")
        return train_here(request, store)

    summary = execute(request_for(folder, "seed=5"), Stages(train=train))
    assert chosen_of(summary).encoders == {"text": "tiny"}
    assert any("classical (not trained: training: the loss is not finite" in note for note in summary.notes or ())
    assert "not trained: training: the loss" in (folder / "store/runs/again/report.html").read_text()


def test_where_all_fail_the_run_does(folder: Path) -> None:
    def fails(request: TrainRequest, store: Store) -> CheckpointRef:
        """Neither can be trained."""
        raise DataError("training: the loss is not finite")

    with pytest.raises(RunFailed, match="the loss is not finite"):
        execute(request_for(folder, "seed=3"), Stages(train=fails))


def test_rows_without_the_modality_leave_nothing_to_choose(folder: Path) -> None:
    settings = ("encoders.audio=auto", "encoders.text=tiny", "encoders.image=off", "seed=4")
    manifest = folder / "data/manifest.csv"
    lines = [line.split(",") for line in manifest.read_text().splitlines()]
    place = lines[0].index("audio")
    manifest.write_text("\n".join(",".join(cell for n, cell in enumerate(line) if n != place) for line in lines) + "\n")
    summary = execute(request_for(folder, *settings), Stages())
    assert summary.encoder_choice is not None
    assert (summary.encoder_choice.encoders, summary.encoder_choice.compared) == ({"audio": "tiny"}, ())


@pytest.mark.slow
def test_of_several_modalities_each_is_looked_at_by_itself(folder: Path) -> None:
    both = (*BOTH, "encoders.test_time_flip=auto")  # under which nothing is blended
    summary = execute(request_for(folder, *both), Stages())
    choice = summary.encoder_choice
    assert choice is not None
    assert [one.encoders for one in choice.compared[:2]] == [TINY, CLASSICAL]
    assert choice.modality_losses.keys() == {"image", "text"}
    best = {kind: min(losses, key=lambda name: losses[name]) for kind, losses in choice.modality_losses.items()}
    assert len(choice.compared) == (2 if len(set(best.values())) == 1 else 3)
    store = Store(folder / "store", "look")
    records = [store.find("checkpoints", one.uri.rpartition("/")[2]) for one in choice.compared[:2]]
    tiny, classical = (CheckpointRef.model_validate(record.ref) for record in records if record is not None)
    paired, turned = stored_losses(tiny, classical, store), stored_losses(classical, tiny, store)
    assert paired is not None
    assert turned == paired.swapped() != paired
    assert {kind: tuple(losses.values()) for kind, losses in choice.modality_losses.items()} == paired.by_modality
    assert all(loss > 0 for losses in paired.by_modality.values() for loss in losses)
    taken = sorted((folder / "store" / KIND).iterdir())
    assert execute(request_for(folder, *both, run="same"), Stages(train=_found)).encoder_choice == choice
    assert sorted((folder / "store" / KIND).iterdir()) == taken
    plan = {line["stage"]: line for line in plan_retrain(request_for(folder, *both))}
    assert (plan["train"]["action"], "train, tiny" in plan) == ("reuse", False)


Train = Callable[[Encoders], ComparedEncoders | None]
Pair = Callable[[Encoders, Encoders], PairedLosses | None]
BY_ITSELF = {"image": {"tiny": 0.9, "classical": 0.5}, "text": {"tiny": 0.2, "classical": 0.7}}
"""Pictures do better as classical features, texts as a small network."""


def trainings(
    losses: Mapping[str, float], error: float | None = 0.01, by_itself: Mapping[str, Mapping[str, float]] = BY_ITSELF
) -> tuple[Train, Pair]:
    """Models whose losses depend on the encoders of image and text; others are not in the store."""

    def train(encoders: Encoders) -> ComparedEncoders | None:
        """What it reached."""
        return (
            ComparedEncoders(encoders=encoders, uri="checkpoints/x") if "+".join(encoders.values()) in losses else None
        )

    def pair(one: Encoders, other: Encoders) -> PairedLosses:
        """Both on the same rows."""
        ours, theirs = (losses["+".join(each.values())] for each in (one, other))
        alone = {kind: (by_itself[kind][one[kind]], by_itself[kind][other[kind]]) for kind in one}
        return PairedLosses(rows=10, losses=(ours, theirs), standard_error=error, by_modality=alone)  # type: ignore[arg-type]

    return train, pair


@pytest.mark.parametrize(
    ("losses", "error", "chosen"),
    [
        ((0.40, 0.50, 0.30), 0.01, ["classical", "tiny"]),
        ((0.40, 0.50, 0.45), 0.01, ["tiny", "tiny"]),
        ((0.40, 0.40, 0.40), 0.01, ["classical", "classical"]),
        ((0.40, 0.42, 0.42), 0.01, ["classical", "classical"]),  # twice the standard error is not more than that
        ((0.30, 0.42, 0.30), 0.01, ["classical", "tiny"]),  # the mix trains one network less
        ((0.40, 0.41, 0.42), None, ["tiny", "tiny"]),  # of one group: nothing tells chance
    ],
)
def test_what_trains_more_networks_must_be_better_by_more_than_chance(
    losses: tuple[float, float, float], error: float | None, chosen: list[str]
) -> None:
    named = dict(zip(("tiny+tiny", "classical+classical", "classical+tiny"), losses, strict=True))
    found = find_choice([TINY, CLASSICAL], *trainings(named, error))
    assert found is not None
    assert list(found.encoders.values()) == chosen
    assert {"+".join(one.encoders.values()): one.loss for one in found.compared} == named
    (best,) = (one for one in found.compared if one.chosen)
    assert (best.difference, best.standard_error) == (None, None)
    for one in found.compared:
        if one is not best:
            assert (one.difference, one.standard_error) == ((one.loss or 0) - (best.loss or 0), error)


@pytest.mark.parametrize(
    ("losses", "error", "chosen", "alone"),
    [
        ((0.40, 0.50, 0.39), 0.01, ["tiny+classical"] * 2, ["tiny", "tiny"]),
        ((0.40, 0.41, 0.39), 0.01, ["tiny+classical"] * 2, ["classical", "classical"]),
        ((0.40, 0.41, 0.40), 0.01, ["tiny+classical"] * 2, ["classical", "classical"]),  # it is not worse
        ((0.40, 0.50, 0.41), 0.01, ["tiny", "tiny"], ["tiny", "tiny"]),
        ((0.40, 0.41, 0.405), 0.01, ["classical", "classical"], ["classical", "classical"]),
        ((0.50, 0.40, 0.41), 0.01, ["classical", "classical"], ["classical", "classical"]),
    ],
)
def test_the_blend_goes_on_unless_one_model_has_a_lower_loss_by_itself(
    losses: tuple[float, float, float], error: float, chosen: list[str], alone: list[str]
) -> None:
    both = blended([TINY, CLASSICAL])
    named = dict(zip(("tiny+tiny", "classical+classical", "+".join(both.values())), losses, strict=True))
    alike = {kind: dict.fromkeys(("tiny", "classical", BLEND), 0.5) for kind in TINY}
    train, pair = trainings(named, error, alike)
    asked: list[list[Encoders]] = []

    def blend(several: list[Encoders]) -> ComparedEncoders | None:
        """Their blend."""
        asked.append(several)
        return ComparedEncoders(encoders=both, uri="checkpoints/both")

    found = find_choice([TINY, CLASSICAL], train, pair, blend)
    assert found is not None
    assert asked == [[TINY, CLASSICAL]]
    assert list(found.encoders.values()) == chosen
    study = find_choice([TINY, CLASSICAL], train, pair, mixes=False)
    assert study is not None
    assert list(study.encoders.values()) == alone
    assert {"+".join(one.encoders.values()): one.loss for one in found.compared} == named
    assert [one.encoders for one in found.compared if one.chosen] == [found.encoders]
    assert find_choice([TINY, CLASSICAL], train, pair, lambda _: None) is None, "while the store does not have it"


def test_nothing_is_blended_with_a_training_that_failed() -> None:
    def train(encoders: Encoders) -> ComparedEncoders:
        """Classical features fail."""
        return ComparedEncoders(encoders=encoders, why="its loss is not finite" if encoders == CLASSICAL else "")

    _, pair = trainings({"tiny+tiny": 0.4})
    found = find_choice([TINY, CLASSICAL], train, pair, lambda _: pytest.fail("asked for a blend"))
    assert found is not None
    assert found.encoders == TINY


def test_models_that_begin_otherwise_or_look_at_mirror_images_are_not_blended() -> None:
    assert blends(load_config({}))
    assert blends(load_config({}, ["encoders.test_time_flip=on"]))
    assert not blends(load_config({}, ["encoders.test_time_flip=auto"]))
    assert not blends(load_config({}, ["train.continue_from=auto"]))


def test_nothing_is_mixed_where_one_encoder_is_better_for_each_modality() -> None:
    alone = {"image": {"tiny": 0.1, "classical": 0.5}, "text": {"tiny": 0.2, "classical": 0.7}}
    found = find_choice([TINY, CLASSICAL], *trainings({"tiny+tiny": 0.4, "classical+classical": 0.5}, by_itself=alone))
    assert found is not None
    assert [one.encoders for one in found.compared] == [TINY, CLASSICAL]


@pytest.mark.parametrize("known", [("tiny+tiny",), ("tiny+tiny", "classical+classical")])
def test_while_a_training_is_missing_the_choice_is_not_known(known: tuple[str, ...]) -> None:
    train, pair = trainings(dict.fromkeys(known, 0.4))
    assert find_choice([TINY, CLASSICAL], train, pair) is None
    train, _ = trainings(dict.fromkeys(("tiny+tiny", "classical+classical", "classical+tiny"), 0.4))
    assert find_choice([TINY, CLASSICAL], train, lambda *_: None) is None


@pytest.mark.parametrize(
    ("start", "settings"),
    [
        (tune_model, ("tune.trials=2", "train.epochs=2")),
        (compare_models, ('compare.variants=["classical"]', "compare.seeds=2")),
        pytest.param(audit_manifest, ("audit.folds=2",), marks=pytest.mark.slow),
        pytest.param(translate_manifest, ("encoders.image=tiny", "train.epochs=2", *RETRIEVAL), marks=pytest.mark.slow),
    ],
    ids=["tune", "compare", "audit", "translate"],
)
def test_a_study_works_under_the_encoder_that_a_retrain_chooses(
    folder: Path, start: Callable[..., RunSummary], settings: tuple[str, ...]
) -> None:
    known = () if start is not translate_manifest and "train.epochs=2" not in settings else settings
    retrained = execute(request_for(folder, *known, run="retrained"), Stages())
    assert retrained.encoder_choice is not None
    before, trained = checkpoints(folder), Counter[str]()

    def train(request: TrainRequest, store: Store) -> CheckpointRef:
        """The stage, counting what is not in the store yet, by its encoder."""
        ref = train_here(request, store)
        trained[request.config.encoders.text] += ref.uri.rpartition("/")[2] not in before
        return ref

    summary = start(request_for(folder, *settings, run="study"), stages=Stages(train=train))
    assert summary.encoder_choice is not None
    assert [one.uri for one in summary.encoder_choice.compared] == [
        one.uri for one in retrained.encoder_choice.compared if one.encoders != {"text": BLEND}
    ], "by trainings that the store had; a study varies one model"
    chosen = chosen_of(summary).encoders["text"]
    assert chosen in ("tiny", "classical")
    assert {name for name, count in trained.items() if count} <= {chosen}
    assert describe_choice(summary.encoder_choice) in (summary.notes or ())
    refs = run_refs(Store(folder / "store", "look"), "study")
    assert start is translate_manifest or refs.features["text"].encoder == chosen
    assert run_config(Store(folder / "store", "look"), "study").encoders.text == chosen


@pytest.mark.parametrize("start", [tune_model, compare_models, audit_manifest, translate_manifest])
def test_a_study_of_rows_that_cannot_be_trained_on_says_so(folder: Path, start: Callable[..., RunSummary]) -> None:
    with pytest.raises((RunFailed, UsageError), match="min_test_per_class"):
        start(request_for(folder, "split.min_test_per_class=1000", "encoders.image=tiny", *RETRIEVAL, run="study"))


def test_the_preflight_has_no_line_of_what_needs_no_files(folder: Path) -> None:
    assert [check.name for check in preflight(request_for(folder)) if check.name.startswith("encoders.")] == []
    (check,) = (
        check for check in preflight(request_for(folder, "encoders.layers=[3]")) if check.name == "encoders.text"
    )
    assert "tiny has no layers" in check.detail


def test_by_default_all_that_has_classical_features_is_open_under_every_preset_that_names_nothing() -> None:
    config = load_config({})
    assert open_modalities(config) == ("image", "text", "audio", "video")
    assert config.encoders.tabular == "tiny"
    assert load_config({}, ["encoders.preset=offline"]).encoders == config.encoders
    assert open_modalities(load_config({}, ["encoders.preset=fast"])) == ()
    assert encoders_to_try(config, ("image", "text_2", "tabular"), 500) == [
        {"image": "tiny", "text": "tiny", "audio": "tiny", "video": "tiny"},
        {"image": "classical", "text": "classical", "audio": "tiny", "video": "tiny"},
    ]


@pytest.mark.parametrize(
    ("settings", "rows", "why"),
    [
        (("train.regime=lora",), 500, "train.regime=lora trains encoders"),
        (("train.max_tokens=512",), 500, "train.max_tokens"),
        (("encoders.image=torchvision:resnet18@random",), 500, "encoders.image=torchvision:resnet18@random would"),
        ((), MOST_ROWS + 1, "of 50,001 rows"),
        ((), MOST_ROWS, ""),
        (("train.devices=2", "train.continue_from=champion"), 500, ""),
        (("encoders.image=tiny",), 500, ""),
        (("encoders.image=torchvision:resnet18",), 500, ""),
        (("encoders.image=torchvision:resnet18", "train.regime=last-n"), 500, "train.regime=last-n"),
        (("encoders.text=tiny", "train.max_tokens=512"), 500, ""),
        (("encoders.video=torchvision:resnet18@random",), 500, ""),
    ],
)
def test_what_cannot_be_trained_or_costs_too_much_is_not_tried_and_said_so(
    settings: tuple[str, ...], rows: int, why: str
) -> None:
    config, inputs = load_config({}, settings), ("image", "text")
    found, tried = why_no_choice(config, inputs, rows), encoders_to_try(config, inputs, rows)
    assert why in found
    assert bool(why) == bool(found)
    assert len(tried) == (1 if why else 2)
    assert set(tried[0].values()) == {"tiny"}


def test_rows_that_lack_what_is_open_have_nothing_to_explain() -> None:
    assert why_no_choice(load_config({}, ["train.regime=full"]), ("tabular",), 500) == ""


def test_without_a_choice_the_networks_are_trained_and_the_reason_is_told(folder: Path) -> None:
    summary = execute(request_for(folder, "train.max_tokens=4096", "evaluate.classical_rows=20000"), Stages())
    assert summary.encoder_choice is not None
    assert (summary.encoder_choice.encoders, summary.encoder_choice.compared) == ({"text": "tiny"}, ())
    told = summary.encoder_choice.why
    assert told.startswith("encoders.text = auto: tiny, without trying classical, as train.max_tokens")
    assert told in (summary.notes or ())
    (line,) = (line for line in plan_retrain(request_for(folder, "train.max_tokens=4096")) if line["stage"] == "train")
    assert told in line["why"]
    before = checkpoints(folder)
    tune = ("tune.trials=1", "train.epochs=1", "seed=9", "train.max_tokens=4096")
    study = tune_model(request_for(folder, *tune, run="study"), stages=Stages())
    assert told in (study.notes or ())
    assert len(checkpoints(folder) - before) <= 2, "those of the study's own trials"


def test_the_default_finds_what_a_run_that_named_tiny_has_trained(folder: Path) -> None:
    before = checkpoints(folder)
    named = execute(request_for(folder, "encoders.text=tiny", "seed=6", "name=older", run="named"), Stages())
    assert named.verdict == "promote"
    (trained,) = checkpoints(folder) - before
    unnamed = [text for text in SETTINGS if not text.startswith("encoders.text")]
    data = f"data.path={folder / 'data/manifest.csv'}"
    config = load_config({}, [*unnamed, data, "seed=6", "name=older"])
    assert config.encoders.text == "auto"
    found = execute(make_request(config, str(folder / "store"), None, "unnamed"), Stages())
    assert found.encoder_choice is not None
    tiny, classical, both = found.encoder_choice.compared
    assert tiny.uri == f"checkpoints/{trained}"
    assert checkpoints(folder) - before == {trained, *(one.uri.rpartition("/")[2] for one in (classical, both))}
    assert found.verdict == "unchanged" if tiny.chosen else found.verdict != "unchanged"


@pytest.mark.slow
def test_who_types_nothing_gets_what_the_validation_rows_chose(tmp_path: Path) -> None:
    """Through the command line: pictures of another brightness, sounds of another pitch, sentences of other words."""
    data = write_learnable(tmp_path / "data", rows=60)
    place = ["--data", str(data), "--store", str(tmp_path / "store"), "--plain"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        """As its user would."""
        done = subprocess.run([CROSSMODAL, "retrain", *place, *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    first = run()
    (told,) = (line for line in first.stdout.splitlines() if "the validation rows chose" in line)
    assert "encoders.image, encoders.text, encoders.audio = auto" in told
    summary = RunSummary.model_validate_json(run("--json").stdout.splitlines()[-1])
    chosen = chosen_of(summary).encoders
    assert summary.verdict == "unchanged"
    refs = run_refs(Store(tmp_path / "store", "look"), str(summary.run))
    assert {name: ref.encoder for name, ref in refs.features.items()} == {
        name: {BLEND: "tiny"}.get(encoder, encoder) for name, encoder in chosen.items() if name != "video"
    }


def test_a_modality_without_classical_features_has_nothing_to_choose() -> None:
    with pytest.raises(UsageError, match=r"encoders\.tabular.*has no classical features"):
        load_config({}, ["encoders.tabular=auto"])


def test_the_champion_is_evaluated_alone_under_its_own_encoder(folder: Path) -> None:
    summary = execute(replace(request_for(folder), run_id="alone"), Stages(), mode="evaluate only")
    assert (summary.verdict, summary.encoder_choice) == ("unchanged", None)


@pytest.mark.slow
def test_under_prefect_the_same_is_chosen_and_found_again(folder: Path) -> None:
    place = ["--data", str(folder / "data/manifest.csv"), "--store", str(folder / "store"), "--json"]
    settings = [word for setting in (*SETTINGS, "seed=7", "name=flow") for word in ("--set", setting)]

    def retrain(*more: str) -> RunSummary:
        """In a process of its own."""
        command = [CROSSMODAL, "retrain", *place, *settings, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return RunSummary.model_validate_json(done.stdout.splitlines()[-1])

    flow = retrain()
    assert flow.verdict == "promote"
    before = checkpoints(folder)
    plain = retrain("--plain")
    assert (plain.verdict, plain.encoder_choice) == ("unchanged", flow.encoder_choice)
    assert checkpoints(folder) == before
