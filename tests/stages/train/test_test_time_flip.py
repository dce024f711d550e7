"""Answers by a picture and its mirror image: when they are chosen, by which rows, and that the model then answers so."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data_contracts.refs import Target
from data_contracts.tables import features_schema, near_duplicates_schema
from tasks.config import TrainConfig, load_config
from tasks.contract import read_table
from tasks.errors import EnvironmentFailed
from tasks.mirrored_labels import why_not_mirrored
from tasks.modeling.card import read_card
from tasks.modeling.inference import load_inputs, predict_logits, predict_probabilities
from tasks.modeling.package import load_model
from tasks.modeling.targets import Targets
from tasks.samples import NEAR_DUPLICATES, Samples
from tasks.store import digest_json
from tasks.train.request import cluster_val_rows
from tasks.train.test_time_flip import decide, standard_error, validate_logits
from tasks.train.train import train, train_key

WIDTH = 1024
CHOOSES = (
    "encoders.test_time_flip=auto",
    "train.epochs=40",
    "train.ema_decay=0",
    "train.augment=false",
    "fusion.dropout=0",
    "fusion.embed_dim=32",
    "fusion.hidden=32",
)


@pytest.fixture
def embedded(make_world, shufflenet):
    """Builds a world of frozen pictures and clips whose validation rows are misread without their mirror images, and read
    well with them."""
    clips = shufflenet[0].replace("image", "video", 1)

    def make(*settings, change=lambda rows: None, helps=True, labels=("bird", "cat", "dog")):
        def rename(rows):
            change(rows)
            for row in rows:
                row["label"] = labels["abc".index(row["label"])]
                row["split"] = "val" if row["id"] in ("s12", "s13", "s14", "s15") else row["split"]

        world = make_world(*shufflenet, clips, *CHOOSES, *settings, change=rename, width=WIDTH)
        clean = world.valid.clean.model_copy(update={"labels": tuple(sorted(labels))})
        world.valid = world.valid.model_copy(update={"clean": clean})
        rows = Samples.read(world.store.path("samples"))
        for name, ref in world.features.items():
            world.features[name] = _with_val_rows(world, ref, rows, helps)
        return world

    return make


def _with_val_rows(world, ref, rows, helps):
    """Features of which those of the validation rows lie between two classes, nearer to the wrong one; averaged over mirror
    images they are those of a train row of their own class, or noise."""
    tables = [read_table(world.store.path(part)) for part in ref.parts]
    known = {row["digest"]: row for table in tables for row in table.to_pylist()}
    cells = list(zip(rows.labels, rows.splits, rows.digests(ref.modality), strict=True))
    good = {label: np.array(known[cell]["values"]) for label, split, cell in cells if split == "train" and cell}
    following = dict(zip(sorted(good), [*sorted(good)[1:], *sorted(good)[:1]], strict=True))
    averaged, rng = [], np.random.default_rng(0)
    for label, split, cell in cells:
        if split == "train" or cell is None:
            continue
        known[cell]["values"] = (0.48 * good[label] + 0.52 * good[following[label]]).tolist()
        values = good[label] if helps else rng.normal(0, 20, WIDTH)
        averaged.append({"digest": cell, "shape": [WIDTH], "values": values.tolist()})
    plain, both = (_put(world, ref, name, content) for name, content in (("plain", known.values()), ("both", averaged)))
    averaged_as = {"is_flip_averaged": True, "fingerprint": digest_json(both.uri), "sha256": digest_json([both.uri])}
    return plain.model_copy(update={"test_time": both.model_copy(update=averaged_as)})


def _put(world, ref, name, content):
    table = pa.Table.from_pylist(list(content), schema=features_schema("float32"))
    uri = f"features/{ref.modality}-{name}"
    return ref.model_copy(update={"uri": uri, "parts": (world.store.put_part(uri, "shard", table),)})


def _made(world):
    ref = train(*world.all, isolate=False)
    folder = world.store.path(ref.uri)
    return read_card(folder), json.loads((folder / "history.json").read_text()), load_model(folder)


def test_it_is_chosen_where_it_lowers_the_loss_of_the_validation_rows_and_the_model_answers_so(embedded):
    world = embedded()
    ref = train(*world.all, isolate=False)
    assert {each.test_time.sha256 for each in world.features.values()} <= set(ref.parents)
    card, history, model = _made(world)
    found = history["test_time_flip"]
    assert found["used"]
    assert found["loss"] - found["flipped_loss"] > 2 * found["standard_error"]
    assert found["flipped_score"] > found["score"]
    assert all(spec.test_time_flip for spec in card.encoders.values())
    assert card.config.encoders.test_time_flip == "on"
    assert all(card.features[name].fingerprint == ref.test_time.fingerprint for name, ref in world.features.items())
    val = Samples.read(world.store.path("samples")).of_split("val")
    answers = predict_probabilities(model, val, world.features, world.store)
    flipped = {name: ref.test_time for name, ref in world.features.items()}
    assert np.array_equal(answers, predict_probabilities(model, val, flipped, world.store))
    right = [card.labels[place] for place in answers.argmax(axis=1)]
    assert np.mean(np.array(right) == np.array(val.labels)) == found["flipped_score"]
    plain = {name: ref.model_copy(update={"test_time": None}) for name, ref in world.features.items()}
    with pytest.raises(EnvironmentFailed, match="reads embeddings with their mirror images"):
        load_inputs(model, val, plain, world.store)


def test_it_is_left_where_it_does_not_help_and_where_it_was_not_extracted(embedded):
    card, history, _ = _made(embedded(helps=False))
    assert not history["test_time_flip"]["used"]
    assert not any(spec.test_time_flip for spec in card.encoders.values())
    assert card.config.encoders.test_time_flip == "auto"
    world = embedded()
    with_them = train_key(*world.all)
    for name, ref in world.features.items():
        world.features[name] = ref.model_copy(update={"test_time": None})
    assert train_key(*world.all) != with_them
    assert "test_time_flip" not in _made(world)[1]


def test_permuted_test_labels_change_no_choice(embedded):
    def permute(rows):
        test = [row for row in rows if row["split"] == "test"]
        labels = [row["label"] for row in test]
        for row, label in zip(test, labels[1:] + labels[:1], strict=True):
            row["label"] = label

    one, other = embedded(), embedded(change=permute)
    assert train_key(*one.all) == train_key(*other.all)
    assert _made(one)[:2][0] == _made(other)[:2][0]
    assert _made(one)[1]["test_time_flip"] == _made(other)[1]["test_time_flip"]


def test_labels_that_name_sides_never_take_it(embedded):
    card, history, _ = _made(embedded(labels=("turn left", "turn right", "straight on")))
    assert not history["test_time_flip"]["used"]
    assert "loss" not in history["test_time_flip"]
    assert "'turn left' names a side" in history["test_time_flip"]["why"]
    assert not any(spec.test_time_flip for spec in card.encoders.values())


@pytest.mark.parametrize(
    ("labels", "turns"),
    [
        (("left", "right"), True),
        (("turn_left", "ahead"), True),
        (("LeftHand", "foot"), True),
        (("0", "1", "10"), True),
        (("b", "d", "p"), True),
        ((*"0123456789", "blank"), True),
        (("3", "cat", "dog"), False),
        (("Zero", "one", "two"), True),
        (("one way", "two way"), False),
        (("leftturn", "ahead"), True),
        (("LEFTTURN", "ahead"), True),
        (("turnRight", "ahead"), True),
        (("keep_to_right", "ahead"), True),
        (("lane: L", "lane: R", "both lanes"), True),
        (("vitamin L", "vitamin K", "none"), False),
        (("lhs", "rhs", "middle"), True),
        (("cw", "ccw", "still"), True),
        (("anti-clockwise", "still"), True),
        (("OS", "OD"), True),
        (("os", "hardware"), False),
        (("links", "rechts"), True),
        (("links", "golf"), False),
        (("bright", "dark"), False),
        (("cat", "dog"), False),
        (("copyright", "leftover"), False),
        (("7 days", "30 days"), False),
        ((), False),
    ],
)
def test_which_labels_a_mirror_image_may_turn(labels, turns):
    targets = (Target(name="label", labels=labels),)
    assert (why_not_mirrored(targets, TrainConfig()) is not None) == turns
    assert why_not_mirrored(targets, TrainConfig(horizontal_flip=True)) is None


def test_the_standard_error_counts_groups_not_rows():
    values, one = np.random.default_rng(0).normal(size=40), np.ones(40)
    plain = standard_error(values, one, None)
    assert plain == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    twice, groups = np.repeat(values, 2), np.repeat(np.arange(40), 2)
    assert standard_error(twice, np.ones(80), groups) == pytest.approx(plain)
    assert standard_error(values, one, np.zeros(40, np.int64)) == float("inf")


@pytest.fixture
def rows():
    """1,000 rows of ten classes: their encoded labels, and the log-odds that they were drawn by."""
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(1000, 10))
    drawn = [rng.choice(10, p=np.exp(row) / np.exp(row).sum()) for row in odds]
    labels = tuple("abcdefghij")
    samples = Samples(pa.table({"label": [labels[place] for place in drawn]}))
    return Targets((Target(name="label", labels=labels),)).encode(samples), odds


def _decided(encoded, logits, flipped, clusters=None, **settings):
    config = TrainConfig(**settings)
    validated = [validate_logits(np.asarray(each, np.float32), encoded, None, config) for each in (logits, flipped)]
    return decide(*validated, np.ones(len(logits), np.float32), clusters, encoded.targets.columns[0])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_flip_that_only_makes_an_overconfident_model_less_certain_is_not_taken(rows, smoothing):
    encoded, odds = rows
    overconfident, taken = 4 * odds, {"off": 0, "auto": 0}
    for seed in range(1, 21):  # in some of which the metric is better, by chance
        worse = 0.6 * overconfident + 0.35 * np.random.default_rng(seed).normal(size=odds.shape)
        for scaling in taken:
            found = _decided(encoded, overconfident, worse, label_smoothing=smoothing, temperature_scaling=scaling)
            taken[scaling] += found.used
    assert taken["off"]
    assert not taken["auto"]
    same = _decided(encoded, overconfident, 0.5 * overconfident, label_smoothing=smoothing)
    assert same.loss == pytest.approx(same.flipped_loss, abs=1e-5)
    noise = np.random.default_rng(1).normal(size=odds.shape)
    assert _decided(encoded, overconfident + 8 * noise, overconfident + noise, label_smoothing=smoothing).used


def test_rows_that_belong_together_make_the_gain_less_certain(rows):
    encoded, odds = rows
    noise = np.random.default_rng(1).normal(size=odds.shape)
    logits, flipped = odds + 0.3 * noise, odds
    clusters = np.arange(1000)
    alone = _decided(encoded, logits, flipped)
    assert _decided(encoded, logits, flipped, clusters).standard_error == pytest.approx(alone.standard_error)
    tied = np.argsort(np.argsort((logits - flipped)[np.arange(1000), encoded.first])) // 250  # rows that gain alike
    found = _decided(encoded, logits, flipped, tied)
    assert found.loss == alone.loss
    assert found.standard_error > 2 * alone.standard_error
    assert (alone.used, found.used) == (True, False)


def test_near_duplicates_among_the_validation_rows_count_as_one_as_they_do_in_evaluation(embedded):
    apart = embedded()
    alone, key = _made(apart)[1]["test_time_flip"], train_key(*apart.all)
    tied = embedded()
    near = [f"s{row}" for row in range(12, 20)]  # of the validation rows, and of one of the others
    found = {"id": [*near, "s00"], "cluster": [0, 0, 1, 1, 2, 2, 3, 3, 3]}
    table = pa.Table.from_pydict(found, schema=near_duplicates_schema())
    pq.write_table(table, tied.store.path("samples") / NEAR_DUPLICATES)
    assert cluster_val_rows(apart.valid, apart.store) is None
    clusters = cluster_val_rows(tied.valid, tied.store)
    assert clusters.tolist() == [1, 1, 2, 2, 3, 3, 0, 0]
    assert train_key(*tied.all) != key
    found = _made(tied)[1]["test_time_flip"]
    assert found["loss"] == alone["loss"]
    assert found["standard_error"] != alone["standard_error"]


def test_a_trained_encoder_looks_twice_outside_training_only(make_world):
    world = make_world("encoders.test_time_flip=on")
    card, history, model = _made(world)
    assert history["test_time_flip"]["used"]
    assert card.encoders["image"].test_time_flip
    assert not card.encoders["audio"].test_time_flip
    inputs = load_inputs(model, Samples.read(world.store.path("samples")), world.features, world.store)
    turned = inputs.tables["image"]
    turned = type(turned)(
        turned.modality,
        turned.digests,
        turned.starts,
        turned.lengths,
        np.ascontiguousarray(turned.alike[:, :, ::-1]).reshape(turned.values.shape),
    )
    other = type(inputs)({**inputs.tables, "image": turned}, inputs.places, inputs.rows)
    np.testing.assert_allclose(predict_logits(model, inputs), predict_logits(model, other), rtol=1e-4, atol=1e-5)
    plain = model.encoders["image"]
    assert model.encoder_of("image") is not plain
    assert model.train().encoder_of("image") is plain


def test_a_frozen_encoder_gives_the_mean_of_both_views(shufflenet):
    from tasks.modeling.pretrained.describe import describe_encoder
    from tasks.modeling.pretrained.weights import frozen_encoder

    encoder = shufflenet[0].partition("=")[2]
    x, lengths = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.full((2,), 32)
    found = {}
    for asked in ("off", "on"):
        config = load_config({}, [*shufflenet, f"encoders.test_time_flip={asked}"])
        spec = describe_encoder("image", encoder, "head", config.encoders)
        found[asked] = frozen_encoder("image", spec)
    with torch.inference_mode():
        mean = (found["off"](x, lengths) + found["off"](x.flip(-1), lengths)) / 2
        torch.testing.assert_close(found["on"](x, lengths), mean)
        torch.testing.assert_close(found["on"](x.flip(-1), lengths), mean)
    assert not torch.allclose(found["off"](x, lengths), mean)
