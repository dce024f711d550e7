"""train.continue_from = auto: the champion's weights are tried, validation rows decide, and the record says what was tried."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from data_contracts.refs import ChampionRef
from data_contracts.training_history import TrainingHistory
from tasks import progress
from tasks.config import with_settings
from tasks.errors import DataError
from tasks.modeling.card import read_card
from tasks.modeling.training_rows import ROWS, compare_train_rows, write_rows
from tasks.reporting.artifacts import read_history
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tasks.train import heads, start_choice
from tasks.train.train import train, train_key
from tasks.train.trainer import Trainer

AUTO = "train.continue_from=auto"


def publish(world, ref) -> ChampionRef:
    """What the registry brings into the store: the checkpoint's files, and the rows it was made with."""
    folder = world.store.path(f"champions/{ref.sha256}")
    shutil.copytree(world.store.path(ref.uri), folder)
    write_rows(Samples.read(world.store.path("samples")), folder / ROWS, ref.modalities)
    return ChampionRef(
        uri=f"champions/{ref.sha256}", sha256=digest_json(ref.sha256), rows=0, name="m", version="1",
        model_sha256=ref.model_sha256, train_key=ref.train_key, base_key=ref.base_key,
    )  # fmt: skip


def relabel(rows):
    """One train row has another label."""
    rows[1]["label"] = "c"


@pytest.fixture(params=["embedded", "trained"])
def pair(request, make_world, shufflenet, monkeypatch):
    """(world, champion): one row was another when the champion was trained, of frozen encoders or of trained ones."""
    monkeypatch.setattr(heads, "CANDIDATES", ({}, {"fusion.dropout": 0.6, "train.standardize": True}))
    options, settings = {}, ("train.heads=auto", "train.epochs=5")
    if request.param == "embedded":
        options = {"width": 1024}
        clips = shufflenet[0].replace("image", "video", 1)
        settings += (*shufflenet, clips, "fusion.embed_dim=128", "fusion.hidden=256")
    before, world = make_world(*settings, **options), make_world(*settings, AUTO, change=relabel, **options)
    champion = publish(before, train(*before.all, isolate=False))
    shutil.copytree(before.store.path(champion.uri), world.store.path(champion.uri))
    return world, champion


def history(world, ref) -> TrainingHistory:
    found = read_history(ref, world.store)
    assert found is not None
    return found


def scratch(world):
    """The same world trained without a champion, in a store of its own."""
    alone = replace(world, store=Store(shutil.copytree(world.store.root, world.store.root.with_name("alone"))))
    return train(*alone.all, isolate=False)


def test_both_starts_are_compared_and_the_better_one_is_the_model(pair):
    world, champion = pair
    ref = train(world.asked(champion=champion), world.store, isolate=False)
    found = history(world, ref)
    start = found.start
    assert start.champion == champion.model_sha256
    assert (start.changes.before, start.changes.altered, start.changes.added, start.changes.removed) == (16, 1, 0, 0)
    assert [one.chosen for one in start.compared].count(True) == 1
    kept = next(one for one in start.compared if one.chosen)
    best = found.epochs[found.best_epoch - 1]
    assert (kept.val_loss, kept.figures["val_accuracy"]) == (best.val_loss, best.val_accuracy)
    assert kept.val_loss == min(one.val_loss for one in start.compared)
    assert start.is_continued is (kept.start == "champion")
    assert "6.2 % of the champion's 16 train rows changed" in found.notes[-1 if kept.start == "scratch" else -2]
    if found.heads:
        assert len(found.heads) == 3
        assert found.heads[-1].settings["train.continue_from"] == "champion"
        assert found.heads[-1].val_loss == start.compared[0].val_loss
    assert champion.sha256 in ref.parents


def test_what_is_kept_from_scratch_is_to_the_byte_what_scratch_gives(pair, monkeypatch):
    world, champion = pair
    # Steps so large that training further than the champion can only spoil it.
    world.config = with_settings(world.config, {"train.ema_decay": 0.0})
    monkeypatch.setattr("tasks.train.start_choice._shortened", lambda config: with_settings(config, SPOILING))
    given = heads.continued_head

    def spoiled(among, fusion):
        head = given(among, fusion)
        return replace(head, config=with_settings(head.config, SPOILING))

    monkeypatch.setattr("tasks.train.stage.continued_head", spoiled)
    expected = scratch(world)
    ref = train(world.asked(champion=champion), world.store, isolate=False)
    start = history(world, ref).start
    assert [(one.start, one.chosen) for one in start.compared] == [("champion", False), ("scratch", True)]
    assert not start.is_continued
    assert "was not kept" in start.notes[0]
    assert ref.model_sha256 == expected.model_sha256
    assert ref.base_key == expected.train_key != ref.train_key


SPOILING = {"train.learning_rate": 30.0, "train.epochs": 1, "train.warmup_ratio": 0.0}


def test_the_champions_weights_are_trained_in_a_fifth_of_the_epochs_and_scratch_beside_them(pair):
    world, champion = pair
    found = history(world, train(world.asked(champion=champion), world.store, isolate=False))
    continued, scratch = found.start.compared
    assert (continued.start, scratch.start) == ("champion", "scratch")
    if not found.heads:
        assert (continued.epochs, scratch.epochs) == (1, 5)


def test_of_equal_losses_the_one_from_scratch_is_kept(pair, monkeypatch):
    world, champion = pair
    monkeypatch.setattr("tasks.train.trainer.validate", lambda *asked: (1.0, {"val_accuracy": 0.5}))
    start = history(world, train(world.asked(champion=champion), world.store, isolate=False)).start
    assert [(one.start, one.chosen) for one in start.compared] == [("champion", False), ("scratch", True)]


def test_weights_that_diverge_are_given_up_and_are_no_error(pair, monkeypatch):
    world, champion = pair
    given = Trainer._validate

    def diverging(trainer):
        if trainer.config.threads == 2:
            raise DataError("training: the validation loss is nan in epoch 1; lower train.learning_rate")
        return given(trainer)

    shortened, continued = start_choice._shortened, heads.continued_head
    marked = {"train.threads": 2}
    monkeypatch.setattr(Trainer, "_validate", diverging)
    monkeypatch.setattr(start_choice, "_shortened", lambda config: with_settings(shortened(config), marked))

    def mark(among, fusion):
        head = continued(among, fusion)
        return replace(head, config=with_settings(head.config, marked))

    monkeypatch.setattr("tasks.train.stage.continued_head", mark)
    expected = scratch(world)
    ref = train(world.asked(champion=champion), world.store, isolate=False)
    found = history(world, ref)
    assert ref.model_sha256 == expected.model_sha256
    assert found.start.compared == ()
    assert not found.start.is_continued
    assert any("lower train.learning_rate; trained from scratch" in text or "given up" in text for text in found.notes)


def test_what_was_interrupted_ends_with_the_same_bytes(pair):
    world, champion = pair
    whole = replace(world, store=Store(shutil.copytree(world.store.root, world.store.root.with_name("whole"))))
    world.config = whole.config = with_settings(world.config, {"train.checkpoint_steps": 1})
    asked = world.asked(champion=champion)
    expected = train(asked, whole.store, isolate=False)
    for stop_at in (1, 2):

        def stop(step, done, total, message, stop_at=stop_at):
            if step == "train" and done >= stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), progress.listening(stop):
            train(asked, world.store, isolate=False)
    ref = train(asked, world.store, isolate=False)
    assert (ref.model_sha256, ref.train_key) == (expected.model_sha256, expected.train_key)


def test_the_key_knows_the_champion_only_where_its_weights_are_tried(pair):
    world, champion = pair
    plain = with_settings(world.config, {"train.continue_from": "none"})
    asked = [world.asked(), world.asked(champion=champion)]
    none = replace(world, config=plain)
    named = replace(world, config=with_settings(world.config, {"train.continue_from": "champion"}))
    keys = [train_key(one, world.store) for one in (*asked, none.asked(), none.asked(champion=champion))]
    assert keys[0] == keys[2] == keys[3], "from scratch is from scratch, whatever was asked"
    assert len({keys[0], keys[1], train_key(named.asked(champion=champion), world.store)}) == 3
    assert train_key(named.asked(), world.store) == keys[0]


def test_without_the_champions_form_of_head_only_scratch_is_trained(pair):
    world, champion = pair
    world.config = with_settings(world.config, {"fusion.kind": "gated"})
    found = history(world, train(world.asked(champion=champion), world.store, isolate=False))
    if found.heads:
        assert not any("train.continue_from" in head.settings for head in found.heads)
        assert not found.start.is_continued


def test_train_rows_are_compared_by_id_label_weight_and_content(pair):
    world, champion = pair
    folder = world.store.path(champion.uri)
    now = Samples.read(world.store.path("samples")).of_split("train")
    names = read_card(folder).modalities

    def changes(change):
        table = now.table(now.names).to_pylist()
        change(table)
        other = Samples(pa.Table.from_pylist(table, schema=now.table(now.names).schema))
        found = compare_train_rows(other, folder, names)
        return found.added, found.removed, found.altered

    assert changes(lambda rows: None) == (0, 0, 1)
    assert changes(lambda rows: rows[0].update(weight=2.0)) == (0, 0, 2)
    assert changes(lambda rows: rows[2].update(image="0" * 64)) == (0, 0, 2)
    assert changes(lambda rows: rows.pop(1)) == (0, 1, 0)
    assert changes(lambda rows: rows.append(rows[2] | {"id": "new"})) == (1, 0, 1)
    assert changes(lambda rows: rows.reverse()) == (0, 0, 1), "their order is no matter"
