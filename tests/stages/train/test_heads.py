"""Several heads on frozen features: which ones, that each is trained as it would be alone, and who chooses."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tasks import progress
from tasks.config import load_config, with_settings
from tasks.errors import DataError, UsageError
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.package import load_model
from tasks.train import heads, trainer
from tasks.train.head_search import HeadSearch
from tasks.train.heads import changed_settings, continue_fusion, list_heads, why_one_head
from tasks.train.request import TrainJob
from tasks.train.stage import run_training
from tasks.train.train import train, train_key

from .test_resume import _run

AUTO = ("fusion.embed_dim=128", "fusion.hidden=256", "train.heads=auto")
WIDTH = 1024


@pytest.fixture
def embedded(make_world, shufflenet):
    """Builds a world of frozen pictures and clips, whose other settings are the defaults, but for a short training."""
    clips = shufflenet[0].replace("image", "video", 1)
    return lambda *settings, change=None: make_world(*AUTO, *shufflenet, clips, *settings, change=change, width=WIDTH)


@pytest.fixture
def three(monkeypatch):
    """A default, a hidden and a linear head."""
    candidates = (
        {},
        {"fusion.dropout": 0.6, "train.learning_rate": 0.01, "train.standardize": True},
        {"fusion.kind": "linear", "train.standardize": True, "train.weight_decay": 1.0},
    )
    monkeypatch.setattr(heads, "CANDIDATES", candidates)
    return candidates


def _history(world, ref):
    return json.loads((world.store.path(ref.uri) / "history.json").read_text())


# -- which heads ---


def test_the_first_head_is_the_configured_one_and_all_differ():
    found = list_heads(load_config({}))
    assert set(found[0].settings) == {"train.early_stopping_patience"}
    assert len({json.dumps(dict(head.settings), sort_keys=True) for head in found}) == len(found) > 2
    assert any(head.settings.get("fusion.kind") == "linear" for head in found)
    for head in found:  # what it says is what it has
        assert changed_settings(head.config) == set(head.settings)


def test_a_changed_setting_holds_for_all_heads():
    config = load_config({}, ["train.weight_decay=0.123", "train.batch_size=32", "train.epochs=3"])
    found = list_heads(config)
    assert len(found) > 1
    for head in found:
        assert (head.config.train.weight_decay, head.config.train.batch_size, head.config.train.epochs) == (
            0.123,
            32,
            3,
        )


@pytest.mark.parametrize("setting", ["fusion.hidden=64", "fusion.dropout=0.1", "fusion.kind=gated", "fusion.kind=late"])
def test_where_a_hidden_layer_is_asked_for_every_head_has_it(setting):
    config = load_config({}, [setting])
    key = setting.split("=")[0].split(".")[1]
    found = list_heads(config)
    assert len(found) == len(heads.CANDIDATES) - 1, "the linear one is left out"
    assert {getattr(head.config.fusion, key) for head in found} == {getattr(config.fusion, key)}
    assert all(head.config.fusion.kind == config.fusion.kind for head in found)


def test_heads_that_come_to_the_same_are_tried_once(three):
    config = load_config(
        {}, ["fusion.kind=gated", "fusion.dropout=0.1", "train.learning_rate=0.5", "train.standardize=true"]
    )
    assert [dict(head.settings) for head in list_heads(config)] == [{}]


@pytest.mark.parametrize(
    ("reads", "settings", "continued", "reason"),
    [
        ("embedding", [], False, None),
        ("inputs", [], False, "encoder of image"),
        ("embedding", ["train.devices=2"], False, "train.devices"),
        ("embedding", [], True, "train.continue_from"),
    ],
)
def test_one_head_has_a_reason(reads, settings, continued, reason):
    spec = EncoderSpec(encoder="tiny", reads=reads, width=8 if reads == "embedding" else None)
    found = why_one_head(load_config({}, settings), {"image": spec}, continued)
    assert found is None if reason is None else reason in found


def test_a_typo_is_an_error_that_names_the_choices():
    with pytest.raises(UsageError, match=r"train\.heads.*auto.*single"):
        load_config({}, ["train.heads=several"])


# -- how they are trained ---


def test_each_head_is_trained_to_the_byte_as_it_would_be_alone(embedded, tmp_path, three):
    world = embedded()
    ref = train(*world.all, isolate=False)
    record = _history(world, ref)
    assert [head["settings"] for head in record["heads"]] == list(three)
    chosen = [head for head in record["heads"] if head["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["val_loss"] == min(head["val_loss"] for head in record["heads"])
    for head in record["heads"]:
        settings = {"train.heads": "single", **head["settings"]}
        alone = embedded()
        alone.config = with_settings(world.config, settings)
        single = train(*alone.all, isolate=False)
        own = _history(alone, single)
        assert "heads" not in own
        assert (len(own["epochs"]), own["best_epoch"]) == (head["epochs"], head["best_epoch"])
        assert own["epochs"][own["best_epoch"] - 1]["val_loss"] == head["val_loss"]
        assert own["epochs"][own["best_epoch"] - 1]["val_accuracy"] == head["figures"]["val_accuracy"]
        assert (single.model_sha256 == ref.model_sha256) == head["chosen"]


def test_each_head_is_stopped_early_by_itself(embedded, monkeypatch):
    impatient, patient = {"train.early_stopping_patience": 1}, {"train.early_stopping_patience": 12}
    monkeypatch.setattr(
        heads, "CANDIDATES", ({}, *({**each, "train.learning_rate": 0.5} for each in (impatient, patient)))
    )
    world = embedded("train.epochs=12")
    record = _history(world, train(*world.all, isolate=False))
    quick, slow = record["heads"][1:]
    assert quick["epochs"] == quick["best_epoch"] + 1 < slow["epochs"] == 12
    chosen = next(head for head in record["heads"] if head["chosen"])
    assert len(record["epochs"]) == chosen["epochs"]
    assert record["best_epoch"] == chosen["best_epoch"]


@pytest.mark.parametrize("die_before", [9, 20, 27])
def test_killed_it_goes_on_to_the_same_bytes(embedded, tmp_path, monkeypatch, three, die_before):
    world = embedded("train.batch_size=4", "train.checkpoint_steps=1")  # 3 heads x 3 epochs x 4 steps
    expected = _run(world, tmp_path / "through")
    _run(world, tmp_path / "killed", monkeypatch, die_before)
    assert (tmp_path / "killed/head-0/state.safetensors").exists()
    assert not (tmp_path / "killed/model.safetensors").exists()
    assert _run(world, tmp_path / "killed") == expected
    through, killed = (json.loads((tmp_path / name / "history.json").read_text()) for name in ("through", "killed"))
    for record in (through, killed):
        for head in (*record["heads"], *record["epochs"]):
            del head["seconds"]
    assert killed["heads"] == through["heads"]
    assert killed["epochs"] == through["epochs"]


def test_every_round_is_heard_of_and_the_choice_is_said(embedded, three):
    world = embedded()
    epochs, lines = [], []
    with progress.listening_to_epochs(epochs.append), progress.listening_to_lines(lambda *line: lines.append(line)):
        ref = train(*world.all, isolate=False)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    losses = [epoch.val_loss for epoch in epochs]
    assert losses == sorted(losses, reverse=True)  # of the best so far
    chosen = next(head for head in _history(world, ref)["heads"] if head["chosen"])
    assert losses[-1] == chosen["val_loss"]
    assert chosen["settings"], "the sentence names the configured head's loss, too"
    before = _history(world, ref)["heads"][0]["val_loss"]
    (said,) = [line for line, _ in lines if "lowest validation loss of 3 heads" in line]
    assert f"({chosen['val_loss']:.4f}; as configured {before:.4f})" in said
    assert all(head["seconds"] > 0 for head in _history(world, ref)["heads"])


def test_embeddings_lie_on_the_device_once(embedded, tmp_path, three):
    world = embedded()
    made = []

    class Kept(HeadSearch):
        def __init__(self, *what):
            super().__init__(*what)
            made.append(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tasks.train.stage.HeadSearch", Kept)
        job = TrainJob(valid=world.valid, features=world.features, config=world.config, store=str(world.store.root))
        run_training(job, tmp_path)
    sources = {id(each.trainer.device_loader.source) for each in made[0].found}
    assert len(made[0].found) == 3
    assert len(sources) == 1


# -- who chooses ---


def _permuted(split):
    def change(rows):
        own = [row for row in rows if row["split"] == split]
        labels = [row["label"] for row in own]
        for row, label in zip(own, [*labels[1:], labels[0]], strict=True):
            row["label"] = label

    return change


def test_permuted_test_labels_change_no_choice(embedded, three):
    first, other = embedded(), embedded(change=_permuted("test"))
    assert train_key(*first.all) == train_key(*other.all)
    refs = [train(*world.all, isolate=False) for world in (first, other)]
    assert refs[0].model_sha256 == refs[1].model_sha256
    records = [_history(world, ref)["heads"] for world, ref in zip((first, other), refs, strict=True)]
    for record in records:
        for head in record:
            del head["seconds"]
    assert records[0] == records[1]


def test_validation_labels_do(embedded, three):
    first, other = embedded(), embedded(change=_permuted("val"))
    refs = [train(*world.all, isolate=False) for world in (first, other)]
    losses = [[h["val_loss"] for h in _history(w, r)["heads"]] for w, r in zip((first, other), refs, strict=True)]
    assert losses[0] != losses[1]


def test_of_equal_heads_the_first_is_kept(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "CANDIDATES", ({}, {"train.lora_rank": 4}))  # which no head has
    world = embedded()
    record = _history(world, train(*world.all, isolate=False))["heads"]
    assert record[0]["val_loss"] == record[1]["val_loss"]
    assert [head["chosen"] for head in record] == [True, False]


# -- the model ---


def test_a_linear_head_is_published_as_any_model(embedded, monkeypatch):
    monkeypatch.setattr(heads, "CANDIDATES", ({"fusion.kind": "linear", "train.standardize": True},))
    world = embedded()
    ref = train(*world.all, isolate=False)
    folder = world.store.path(ref.uri)
    card = json.loads((folder / "model.json").read_text())
    assert card["config"]["fusion"]["kind"] == "linear"
    model = load_model(folder)
    assert sum(p.numel() for p in model.parameters()) == 2 * (WIDTH * 3 + 3 + 3)
    weights = load_file(folder / "model.safetensors")
    assert not any("moments" in name or "mean" in name for name in weights)
    assert not model.projections["image"]._forward_pre_hooks


def test_one_head_and_why_is_a_note_of_the_run(embedded, monkeypatch, three):
    monkeypatch.setattr("tasks.train.heads.why_one_head", lambda *what: "one head, because")
    world = embedded()
    record = _history(world, train(*world.all, isolate=False))
    assert "heads" not in record
    assert record["figures"]["notes"][0] == "one head, because"


def test_encoders_from_scratch_train_one_head_and_the_log_says_so(make_world):
    world, lines = make_world("train.heads=auto"), []
    with progress.listening_to_lines(lambda *line: lines.append(line[0])):
        record = _history(world, train(*world.all, isolate=False))
    assert "heads" not in record
    assert not any("one head" in text for text in record["figures"].get("notes", []))
    assert any("one head" in line and "image and audio" in line for line in lines)


def _diverge(monkeypatch, settings):
    """Under these settings the first validation loss is not a number, as of a head that diverged."""
    monkeypatch.setattr(heads, "CANDIDATES", ({}, {"fusion.dropout": 0.6}))
    checked = trainer.validate

    def validate(model, data, config, *more):
        loss, figures = checked(model, data, config, *more)
        dropped = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
        return (float("nan") if settings in dropped else loss), figures

    monkeypatch.setattr(trainer, "validate", validate)


def test_a_head_that_diverges_is_given_up_and_the_run_says_so(embedded, monkeypatch):
    _diverge(monkeypatch, 0.6)
    world = embedded()
    record = _history(world, train(*world.all, isolate=False))
    assert [head["settings"] for head in record["heads"]] == [{}]
    assert record["figures"]["notes"][0] == "head fusion.dropout=0.6: given up, its loss was not finite"


def test_a_configured_head_that_diverges_is_an_error(embedded, monkeypatch):
    _diverge(monkeypatch, 0.3)
    with pytest.raises(DataError, match=r"lower train\.learning_rate"):
        train(*embedded().all, isolate=False)


def test_going_on_from_a_champion_the_head_is_of_its_kind(embedded, monkeypatch):
    monkeypatch.setattr(heads, "CANDIDATES", ({"fusion.kind": "linear"},))
    world = embedded()
    champion = train(*world.all, isolate=False)
    folder = world.store.path(champion.uri)
    assert continue_fusion(world.config, folder).fusion.kind == "linear"
    assert continue_fusion(world.config, None) == world.config
    gated = with_settings(world.config, {"fusion.kind": "gated"})
    assert continue_fusion(gated, folder) == gated


def test_a_search_of_one_is_that_head(embedded, monkeypatch):
    single, searched = embedded("train.heads=single"), embedded()
    ref = train(*single.all, isolate=False)
    monkeypatch.setattr(heads, "CANDIDATES", ({},))
    assert train(*searched.all, isolate=False).model_sha256 == ref.model_sha256
