"""Going on from a champion: what of it is taken over, which rows are replayed, and what the key knows of it."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from data_contracts.refs import ChampionRef
from data_contracts.training_history import WarmStartRecord
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.package import build_model
from tasks.modeling.training_rows import ROWS, are_known, read_rows, write_rows
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tasks.train.train import train, train_key
from tasks.train.warm_start import WarmStart, output_names, replay, transfer_weights
from tests.support.cards import card_of

CONTINUE = "train.continue_from=champion"


def publish(world, ref) -> ChampionRef:
    """What the registry brings into the store: the checkpoint's files, and the rows it was made with."""
    folder = world.store.path(f"champions/{ref.sha256}")
    shutil.copytree(world.store.path(ref.uri), folder)
    write_rows(Samples.read(world.store.path("samples")), folder / ROWS)
    return ChampionRef(
        uri=f"champions/{ref.sha256}", sha256=digest_json(ref.sha256), rows=0, name="m", version="1",
        model_sha256=ref.model_sha256, train_key=ref.train_key, base_key=ref.base_key,
    )  # fmt: skip


def history(world, ref):
    return json.loads((world.store.path(ref.uri) / "history.json").read_text())


@pytest.fixture(scope="module")
def trained_once(make_lasting_world):
    """A world that asks to continue, and its champion, trained from nothing."""
    world = make_lasting_world(CONTINUE)
    return world, publish(world, train(*world.all, isolate=False))


@pytest.fixture
def trained(trained_once, tmp_path):
    """The same in a copy of its store, which a test may change."""
    world, champion = trained_once
    return replace(world, store=Store(shutil.copytree(world.store.root, tmp_path / "trained"))), champion


def record_of(folder: Path):
    """model.json as it stands, to be changed."""
    return json.loads((folder / "model.json").read_text())


def relabel(folder: Path, labels, weights=None):
    """The champion with other labels, one row of its heads each."""
    card = record_of(folder)
    shutil.copytree(folder, other := folder.with_name("other"))
    (other / "model.json").write_text(json.dumps(card | {"labels": labels}))
    save_file(load_file(folder / "model.safetensors") | (weights or {}), other / "model.safetensors")
    return other


def taking(trained, folder):
    world, champion = trained
    card = read_card(world.store.path(champion.uri))
    model, start = build_model(card), WarmStart(None, WarmStartRecord(), folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return model, before, transfer_weights(model, card, start), start


def test_the_same_network_is_taken_over_whole(trained):
    folder = trained[0].store.path(trained[1].uri)
    model, _, taken, start = taking(trained, folder)
    expected = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert not taken.partly
    assert not taken.fresh
    assert start.record.notes == (f"started from the champion: {len(expected)} of {len(expected)} tensors taken over",)


def test_rows_of_heads_are_matched_by_label(trained):
    folder = relabel(trained[0].store.path(trained[1].uri), ["c", "x", "a"])
    model, before, taken, start = taking(trained, folder)
    theirs = load_file(folder / "model.safetensors")
    for name in ("head.weight", "head.bias", "auxiliary.image.weight", "auxiliary.audio.bias"):
        ours = model.state_dict()[name]
        assert torch.equal(ours[0], theirs[name][2]), "a"
        assert torch.equal(ours[1], before[name][1]), "b is new"
        assert torch.equal(ours[2], theirs[name][0]), "c"
        assert name in taken.partly
    assert not taken.fresh
    assert "6 for the 2 of 3 classes that it knows" in start.record.notes[0]


def test_new_and_lost_classes_change_the_number_of_rows(trained):
    weights = {
        name: torch.arange(float(8 * 5)).reshape(5, 8) if name.endswith("weight") else torch.arange(5.0)
        for name in ("head.weight", "head.bias")
    }
    folder = relabel(trained[0].store.path(trained[1].uri), ["b", "p", "q", "r", "s"], weights)
    model, before, taken, _ = taking(trained, folder)
    assert model.head.bias.tolist()[1] == 0.0
    assert model.head.bias.tolist()[::2] == before["head.bias"].tolist()[::2]
    assert "auxiliary.image.weight" in taken.fresh, "three rows are not those of five labels"


def test_another_encoder_or_shape_is_initialised_anew(trained):
    folder = trained[0].store.path(trained[1].uri)
    other = relabel(folder, ["a", "b", "c"], {"shared.1.weight": torch.zeros(8, 3)})
    card = record_of(other)
    card["encoders"]["audio"]["settings"] = {"other": 1}
    (other / "model.json").write_text(json.dumps(card))
    model, before, taken, _ = taking(trained, other)
    fresh = {name for name in before if "audio" in name.split(".")} | {"shared.1.weight"}
    assert set(taken.fresh) == fresh
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in fresh)


def test_an_encoder_that_was_moved_is_the_same_one(trained):
    world, champion = trained
    card = record_of(world.store.path(champion.uri))
    folder = relabel(world.store.path(champion.uri), card["labels"])
    for record, place in ((card, "tiny"), (theirs := record_of(folder), "hf:/old/folder")):
        record["encoders"]["audio"] |= {"weights_sha256": "a" * 64, "encoder": place}
    card = ModelCard.model_validate(card)
    (folder / "model.json").write_text(json.dumps(theirs))
    start = WarmStart(None, WarmStartRecord(), folder)
    assert not transfer_weights(build_model(read_card(world.store.path(champion.uri))), card, start).fresh
    theirs["encoders"]["audio"]["weights_sha256"] = "b" * 64
    (folder / "model.json").write_text(json.dumps(theirs))
    taken = transfer_weights(build_model(read_card(world.store.path(champion.uri))), card, start)
    assert any("audio" in name.split(".") for name in taken.fresh)


def test_a_champion_made_before_cards_told_of_tokenizers_is_the_same_one(trained):
    folder = trained[0].store.path(trained[1].uri)
    older = relabel(folder, record_of(folder)["labels"])
    card = record_of(older)
    for spec in card["encoders"].values():
        for key in ("inputs_sha256", "model_type", "tokenizer_sha256"):
            del spec[key]
    (older / "model.json").write_text(json.dumps(card))
    assert not taking(trained, older)[2].fresh


def test_the_head_of_numbers_on_another_scale_begins_anew(trained):
    world, champion = trained
    folder = relabel(world.store.path(champion.uri), ["a", "b"])
    kinds = {"name": "kind", "problem": "multiclass", "labels": ["a", "b"]}
    price = {"name": "price", "problem": "regression", "labels": [], "mean": 3.0, "std": 2.0}
    ours = record_of(folder) | {"labels": ["a", "b"], "targets": [kinds, price]}
    for mean, same in ((3.0, True), (4.0, False)):
        (folder / "model.json").write_text(json.dumps(ours | {"targets": [kinds, price | {"mean": mean}]}))
        card = ModelCard.model_validate(ours)
        model = build_model(card)
        before = model.head.weight.detach().clone()
        taken = transfer_weights(model, card, WarmStart(None, WarmStartRecord(), folder))
        theirs = load_file(folder / "model.safetensors")["head.weight"]
        assert torch.equal(model.head.weight[:2], theirs[:2])
        assert torch.equal(model.head.weight[2], theirs[2] if same else before[2])
        assert ("head.weight" in taken.whole) is same


def test_outputs_are_named_by_column_and_label():
    numbers = {"name": "price", "problem": "regression", "labels": []}
    kinds = {"name": "kind", "problem": "multilabel", "labels": ["x", "y"]}
    read = ModelCard.model_validate
    assert output_names(read(card_of(["a", "b"]))) == [("", "a"), ("", "b")]
    assert output_names(read(card_of([], targets=[numbers, kinds]))) == [("", ""), ("kind", "x"), ("kind", "y")]


def test_training_starts_from_it_and_tells(trained, make_world):
    world, champion = trained

    def relearn(rows):
        for row in rows:
            row["label"] = "abc"[(int(row["id"][1:]) + 1) % 3] if row["id"] == "s01" else row["label"]

    changed = make_world(CONTINUE, "train.epochs=1", change=relearn)
    shutil.copytree(world.store.path(champion.uri), changed.store.path(champion.uri))
    scratch = train(*changed.all, isolate=False)
    assert "start" not in history(changed, scratch)
    gone_on = train(changed.asked(champion=champion), changed.store, isolate=False)
    assert gone_on.model_sha256 != scratch.model_sha256
    assert gone_on.base_key == scratch.base_key != gone_on.train_key
    assert champion.sha256 in gone_on.parents
    start = history(changed, gone_on)["start"]
    assert start["champion"] == champion.model_sha256
    assert start["rows"] == {"new": 0, "old": 16, "replayed": 16}
    assert len(start["notes"]) == 2
    first = history(changed, scratch)["epochs"][0]["val_loss"]
    assert history(changed, gone_on)["epochs"][0]["val_loss"] < first


def test_a_champion_made_from_these_very_rows_is_the_answer(trained):
    world, champion = trained
    assert train_key(world.asked(champion=champion), world.store) == champion.train_key
    assert train(world.asked(champion=champion), world.store, isolate=False).model_sha256 == champion.model_sha256
    shutil.rmtree(world.store.path(f"checkpoints/{champion.train_key}"))
    assert train_key(world.asked(champion=champion), world.store) != champion.train_key, "its checkpoint is gone"


def test_the_key_knows_the_champion_only_where_it_is_asked_for(trained, make_world):
    _, champion = trained
    plain, asked = make_world(), make_world(CONTINUE, "train.epochs=1")
    assert train_key(plain.asked(champion=champion), plain.store) == train_key(*plain.all)
    other = champion.model_copy(update={"sha256": "0" * 64})
    assert len({train_key(asked.asked(champion=who), asked.store) for who in (None, champion, other)}) == 3


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_new_rows_all_stay_and_a_share_of_the_old_ones(tmp_path, share):
    ids = [f"row-{n}" for n in range(1000)]
    old = Samples(pa.table({"id": ids[:600], "split": ["train"] * 500 + ["test"] * 100}))
    write_rows(old, tmp_path / ROWS)
    samples = Samples(pa.table({"id": ids, "split": ["train"] * 900 + ["val"] * 100}))
    kept, rows, note = replay(samples, tmp_path, share, seed=0)
    left = kept.ids
    assert set(ids[500:]) <= set(left), "also what the champion knew as test rows: it was not trained on them"
    assert abs(len(left) - 500 - 500 * share) < 40
    assert rows == {"new": 400, "old": 500, "replayed": len(left) - 500}
    assert f"trained on 400 new rows and {len(left) - 500:,} of the champion's own 500" in note
    larger = replay(samples, tmp_path, min(share + 0.3, 1.0), seed=0)[0].ids
    assert set(left) <= set(larger)
    assert replay(samples, tmp_path, share, seed=0)[0].ids == left


def test_other_seeds_replay_other_rows(tmp_path):
    ids = [f"row-{n}" for n in range(1000)]
    write_rows(Samples(pa.table({"id": ids[:-1], "split": ["train"] * 999})), tmp_path / ROWS)
    samples = Samples(pa.table({"id": ids, "split": ["train"] * 1000}))
    drawn = [set(replay(samples, tmp_path, 0.5, seed)[0].ids) - {ids[-1]} for seed in (0, 1, 2)]
    for one, other in itertools.combinations(drawn, 2):
        assert 200 < len(one & other) < 300  # of two halves drawn independently a quarter is in both


def test_without_new_rows_all_are_kept(tmp_path):
    samples = Samples(pa.table({"id": ["a", "b", "c"], "split": ["train", "train", "val"]}))
    write_rows(samples, tmp_path / ROWS)
    assert replay(samples, tmp_path, 0.0, 0)[0].ids == samples.ids


def test_rows_are_known_by_their_ids_whatever_their_order(tmp_path):
    samples = Samples(pa.table({"id": ["ä", "b", "c"], "split": ["train", "test", "train"]}))
    write_rows(samples, tmp_path / "one")
    write_rows(samples.take([2, 0, 1]), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    (tmp_path / "one").rename(tmp_path / ROWS)
    rows = read_rows(tmp_path)
    assert {split: len(digests) for split, digests in rows.items()} == {"train": 2, "val": 0, "test": 1}
    assert are_known(["b", "c", "ä", "d"], rows["train"]).tolist() == [False, True, True, False]
    (tmp_path / ROWS).write_bytes(b"xx")
    with pytest.raises(DataError, match="damaged"):
        read_rows(tmp_path)


def test_weights_that_cannot_be_read_are_an_error(trained):
    folder = trained[0].store.path(trained[1].uri)
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(EnvironmentFailed, match="cannot be read"):
        taking(trained, folder)
