import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.config import RunConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import ModelCard, read_card, save_card
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import build_model, load_model, save_model
from tasks.samples import Samples
from tasks.store import digest_file

CARD = {
    "format": 2,
    "labels": ["a", "b", "c"],
    "modalities": ["image", "audio"],
    "encoders": {name: {"encoder": "tiny", "reads": "inputs"} for name in ("image", "audio")},
    "config": RunConfig().subset("media", "extract", "encoders", "fusion"),
}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    card = ModelCard.model_validate(CARD)
    save_model(build_model(card), tmp_path, card)
    return tmp_path


@pytest.fixture
def data(store, make_features):
    rng = np.random.default_rng(0)
    image, images = make_features("image", [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(6)])
    audio, audios = make_features("audio", [rng.normal(size=(4 + n, 64)).astype(np.float32) for n in range(6)])
    audios[2] = images[4] = None
    return Samples(pa.table({"image": images, "audio": audios})), {"image": image, "audio": audio}


def test_the_same_weights_are_the_same_bytes(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save_model(load_model(folder), other, ModelCard.model_validate(CARD))
    for name in ("model.safetensors", "model.json"):
        assert digest_file(folder / name) == digest_file(other / name)


def test_predictions_are_probabilities_and_repeat_to_the_byte(folder, data, store):
    samples, features = data
    one, two = (predict_probabilities(load_model(folder), samples, features, store) for _ in range(2))
    assert one.shape == (6, 3)
    assert one.dtype == np.float32
    np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-6)
    assert one.tobytes() == two.tobytes()


def test_predictions_do_not_depend_on_the_batch(folder, data, store):
    samples, features = data
    model = load_model(folder)
    whole = predict_probabilities(model, samples, features, store)
    np.testing.assert_allclose(whole, predict_probabilities(model, samples, features, store, batch_size=1), atol=1e-5)


def test_given_hides_the_content_of_the_others(folder, data, store):
    samples, features = data
    model = load_model(folder)
    seen = predict_probabilities(model, samples, features, store, present=("image",))
    sounds = samples.column("audio").take(pa.array([5, 4, 3, 2, 1, 0]))
    swapped = Samples(pa.table({"image": samples.column("image"), "audio": sounds}))
    np.testing.assert_array_equal(seen, predict_probabilities(model, swapped, features, store, present=("image",)))
    assert not np.allclose(seen, predict_probabilities(model, samples, features, store))


def test_a_missing_folder_is_an_environment_error(tmp_path):
    with pytest.raises(EnvironmentFailed, match=r"model\.json"):
        load_model(tmp_path / "nowhere")


def test_missing_weights_are_an_environment_error(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(EnvironmentFailed, match=r"model\.safetensors"):
        load_model(folder)


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_weights_are_a_data_error(folder, damage):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(DataError, match="damaged"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "b"]}, "does not match"),
        ({"modalities": ["image"]}, "does not match"),
        ({"format": 99}, "format 99"),
        ({"config": {"fusion": {}}}, r"damaged \(config\.media: Field required\); train again"),
        ({"config": CARD["config"] | {"fusion": {"kind": "hope"}}}, r"damaged \(config\.fusion\.kind: "),
        ({"encoders": {"image": CARD["encoders"]["image"]}}, r"damaged \(model\.json: no encoder of audio\)"),
        ({"encoders": {"image": {"encoder": 1}}}, r"damaged \(encoders\.image\.encoder: "),
        ({"labels": "ab"}, r"damaged \(labels: "),
        ({"decision": {"offsets": [0.0, 1.0]}}, r"damaged \(model\.json: decision\.offsets is not one number for each"),
        ({"decision": {"thresholds": [0.5, 0.5, 0.5]}}, r"damaged \(model\.json: decision\.offsets is not one number"),
        ({"decision": {"offsets": [0.0, 1.0, "x"]}}, r"damaged \(decision\.offsets\.2: "),
        ({"features": {"image": {"dtype": "uint8"}}}, r"damaged \(features\.image\.fingerprint: "),
        ({"targets": [{"name": "x", "problem": "odd"}]}, r"damaged \(targets\.0: problem 'odd' is unknown\)"),
        ({"modalities": []}, r"damaged \(modalities: "),
        ({"modalities": ["video"], "encoders": {"video": CARD["encoders"]["image"]}}, "does not match"),
        ({"modalities": ["smell"]}, r"damaged \(modalities\.0: "),
    ],
)
def test_a_card_that_does_not_fit_is_a_data_error(folder, change, message):
    (folder / "model.json").write_text(json.dumps(CARD | change))
    with pytest.raises(DataError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"later": 1}, "later"),
        ({"config": CARD["config"] | {"media": {"colour": 1}}}, r"config\.media\.colour"),
    ],
)
def test_a_card_with_settings_that_this_version_does_not_know_is_an_environment_error(folder, change, key):
    (folder / "model.json").write_text(json.dumps(CARD | change))
    with pytest.raises(EnvironmentFailed, match=rf"with other settings \({key}\); retrain it with this version"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        ({}, {"targets", "decision", "uncertainty"}),
        ({"decision": {"offsets": [0.5, 0.0, -1.0]}}, {"targets", "uncertainty"}),
        (
            {"labels": ["x", "y"], "decision": {"thresholds": [0.5, 0.25]}}
            | {"targets": [{"name": "l", "problem": "multilabel", "labels": ["x", "y"], "mean": 0.0, "std": 1.0}]},
            {"uncertainty"},
        ),
    ],
)
def test_a_card_is_written_as_it_was_read(tmp_path, change, left_out):
    record = json.loads(json.dumps(CARD | change))
    card = ModelCard.model_validate(record)
    save_card(card, tmp_path)
    written = json.loads((tmp_path / "model.json").read_text())
    assert set(ModelCard.model_fields) - set(written) - {"blend", "compression"} == left_out
    assert {name: written[name] for name in change} == change
    assert written["config"] == record["config"]
    assert read_card(tmp_path) == card


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", "[" * 100_000, "\udcff".encode(errors="surrogateescape").decode(errors="replace")]
)
def test_a_card_that_is_no_json_object_is_a_data_error(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        load_model(folder)
