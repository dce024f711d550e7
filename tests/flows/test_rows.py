"""Rows in memory are answered as the same rows of a manifest are, and what cannot be used is named by row and input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import crossmodal
from crossmodal import Model, Prediction, RowsRefused
from tasks.errors import UsageError
from tasks.modality_specs.tabular.columns import TabularColumns
from tasks.modeling.encoder_spec import EncoderSpec
from tests.support.data import PIXELS, SOUND, MakeData, png, wav, write_manifest
from tests.support.folder_models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("models")
    loaded = crossmodal.load(write_model(folder / "small"), store=folder / "store")
    yield loaded
    loaded._predictor.close()


def outputs(found: list[Prediction]) -> np.ndarray:
    return np.array([list(answer.probabilities.values()) for answer in found])


def test_a_picture_is_the_same_as_a_path_bytes_a_pil_image_and_an_array(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(png(PIXELS))
    (tmp_path / "link.png").symlink_to(path)
    values: list[Any] = [path, str(path), tmp_path / "link.png", png(PIXELS), Image.fromarray(PIXELS), PIXELS]
    found = model.predict([{"image": value} for value in values])
    assert np.allclose(outputs(found), outputs(found)[0], atol=1e-6)
    assert {answer.modalities for answer in found} == {("image",)}
    sounds = model.predict([{"audio": value} for value in (wav(SOUND, 8000), (SOUND, 8000))])
    assert np.allclose(*outputs(sounds), atol=1e-6)


def test_any_inputs_may_be_missing_and_the_answer_says_which_were_used(model: Model) -> None:
    row = {"image": PIXELS, "text": "it is low", "audio": (SOUND, 8000)}
    subsets = [{name: row[name] for name in names.split("+")} for names in ("image+text+audio", "text", "image+audio")]
    found = model.predict([*subsets, {"text": "x", "image": None, "audio": ""}])
    assert [answer.modalities for answer in found] == [
        ("image", "text", "audio"),
        ("text",),
        ("image", "audio"),
        ("text",),
    ]
    for answer in found:
        assert list(answer.probabilities) == list(model.labels)
        assert answer.probability == max(answer.probabilities.values()) == answer.probabilities[answer.label]
        assert (answer.model, answer.version) == ("small", model.version)
    alone = [model.predict([subset])[0] for subset in subsets]
    assert np.allclose(outputs(alone), outputs(found)[:3], atol=1e-5), "a batch changes no answer"


def test_rows_that_cannot_be_used_are_named_with_their_inputs(model: Model, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    bad: list[dict[str, Any]] = [
        {"text": "good"},
        {"image": tmp_path / "none.png"},
        {"imge": PIXELS},
        {},
        {"image": b"no picture"},
        {"image": PIXELS.astype(float)},
        {"audio": (SOUND, 0)},
        {"audio": SOUND},
        {"text": 3},
        {"image": tmp_path},
        {"image": tmp_path / "empty"},
        {"image": b"0" * 64_000_001, "text": "x"},
        {"text": " "},
    ]
    with pytest.raises(RowsRefused, match=r"^12 of 13 rows cannot be predicted: row 1, image: missing-file") as refused:
        model.predict(bad)
    assert [(each.row, each.input, each.reason) for each in refused.value.refusals] == [
        (1, "image", "missing-file"),
        (2, "imge", "unknown-input"),
        (3, None, "no-modality"),
        (4, "image", "unreadable-image"),
        (5, "image", "bad-value"),
        (6, "audio", "bad-value"),
        (7, "audio", "bad-value"),
        (8, "text", "bad-value"),
        (9, "image", "not-a-file"),
        (10, "image", "empty-file"),
        (11, "image", "file-too-large"),
        (12, "text", "empty-text"),
    ]
    assert "did you mean 'image'?" in str(refused.value)


def test_a_data_frame_gives_one_with_its_index(model: Model) -> None:
    frame = pd.DataFrame({"text": ["a", None, "b"], "price": [1, 2, 3]}, index=[7, 5, 6])
    found = model.predict(frame)
    assert found.index.tolist() == [7, 5, 6]
    assert found["reason"].fillna("").tolist() == ["", "no-modality", ""]
    assert found["predicted"].isna().tolist() == [False, True, False]
    assert found["predicted"][7] == model.predict([{"text": "a"}])[0].label
    with pytest.raises(UsageError, match="no column of the data frame is an input of the model; it reads image"):
        model.predict(pd.DataFrame({"price": [1]}))
    with pytest.raises(UsageError, match="columns and out are for data at a path"):
        model.predict(frame, columns="all")


def test_a_data_frame_may_hold_paths_as_a_manifest_does(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(PIXELS))
    frame = pd.DataFrame({"image_path": [str(tmp_path / "a.png"), None, "gone.png"], "text": ["a", "b", "c"]})
    found = model.predict(frame)
    assert found["modalities"].fillna("").tolist() == ["image+text", "text", ""]
    assert found["reason"].fillna("").tolist() == ["", "", "missing-file"]
    assert list(frame) == ["image_path", "text"], "the caller's own frame is left as it is"
    both = model.predict(frame.assign(image=[None, png(PIXELS), None]))
    assert both["modalities"].tolist() == ["text", "image+text", "text"]


def test_answers_come_with_what_they_rest_on_where_that_is_asked_for(model: Model) -> None:
    rows: list[dict[str, Any]] = [{"text": "words of a"}, {"text": "words of b", "image": PIXELS}]
    plain, told = model.predict(rows), model.predict(rows, explain=True)
    assert [answer.explanation for answer in plain] == [None, None]
    for before, after in zip(plain, told, strict=True):
        assert after.explanation is not None
        assert after.model_copy(update={"explanation": None}) == before
        assert sum(after.explanation.shares.values()) == pytest.approx(1)
        assert set(after.explanation.shapley) == set(after.modalities)
    with pytest.raises(RowsRefused, match="row 1, image: unreadable-image"):
        model.predict([{"text": "a"}, {"image": b"no picture"}], explain=True)
    with pytest.raises(UsageError, match="explain is for a list of rows"):
        model.predict(pd.DataFrame({"text": ["a"]}), explain=True)


def test_of_many_rows_some_are_explained_at_a_time_and_by_one_thread(model: Model) -> None:
    rows: list[dict[str, Any]] = [{"text": f"words of {number}"} for number in range(70)]
    alone = [answer.explanation for answer in model.predict(rows, explain=True)]
    with ThreadPoolExecutor(4) as workers:
        asked = [workers.submit(model.predict, rows[start : start + 10], explain=True) for start in range(0, 40, 10)]
        beside = [answer.explanation for each in asked for answer in each.result()]
    assert beside == alone[:40]
    with pytest.raises(RowsRefused, match="row 69, image: unreadable-image"):
        model.predict([*rows[:69], {"image": b"no picture"}], explain=True)


def test_rows_are_answered_as_those_of_a_manifest(model: Model, make_data: MakeData) -> None:
    compare_with_manifest(model, make_data(rows=4))


def test_rows_of_frozen_pretrained_encoders_are_answered_alike(
    squeezenet: Path, bert: Path, make_data: MakeData, tmp_path: Path
) -> None:
    encoders = {"image": f"torchvision:squeezenet1_1@{squeezenet}", "text": f"hf:{bert}"}
    frozen = crossmodal.load(write_model(tmp_path / "frozen", frozen=encoders), store=tmp_path / "store")
    compare_with_manifest(frozen, make_data(rows=3))
    (answer,) = frozen.predict([{"text": "words of a"}])
    assert answer.modalities == ("text",)
    frozen._predictor.close()


def test_cells_of_a_table_stand_under_their_columns_names_or_in_an_object(tmp_path: Path) -> None:
    columns = TabularColumns()
    known = [
        columns.join({"price": price, "colour": colour}) for price, colour in ((1, "red"), (2, "blue"), (4, "red"))
    ]
    fitted = columns.fit(
        EncoderSpec(encoder="tiny", reads="inputs"),
        [*filter(None, known)],
        {"price": "numeric", "colour": "categorical"},
    )
    folder = write_model(
        tmp_path / "table", inputs=("text", "tabular"), encoders={"tabular": fitted.model_dump(mode="json")}
    )
    table = crossmodal.load(folder, store=tmp_path / "store")
    manifest = write_manifest(tmp_path / "m.csv", [{"text": "a", "price": "2", "colour": "red"}, {"text": "b"}])
    rows = [{"text": "a", "price": 2, "colour": "red"}, {"text": "b", "price": None}]
    found = table.predict([*rows, {"text": "a", "tabular": {"price": "2", "colour": "red"}}, {"colour": "green"}])
    assert [answer.modalities for answer in found] == [
        ("text", "tabular"),
        ("text",),
        ("text", "tabular"),
        ("tabular",),
    ]
    assert np.allclose(outputs(found)[:2], np.array(table.predict(manifest)["probabilities"].tolist()), atol=1e-5)
    assert np.allclose(outputs(found)[0], outputs(found)[2])
    with pytest.raises(RowsRefused, match=r"row 0, tabular: unknown-column \(prize; the model reads colour, price\)"):
        table.predict([{"tabular": {"prize": 3}}])
    with pytest.raises(RowsRefused, match=r"row 0, prise: unknown-input .* did you mean 'price'"):
        table.predict([{"text": "a", "prise": 3}])
    table._predictor.close()


def test_a_clip_lends_its_picture_and_its_sound_where_the_model_takes_them(
    make_clip: Callable[..., bytes], tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "m", media={"image_from_video": True, "audio_from_video": True})
    lending = crossmodal.load(folder, store=tmp_path / "store")
    silent, loud = make_clip(5), make_clip(10, sound_s=0.4)
    found = lending.predict([{"video": silent}, {"video": loud}, {"video": loud, "audio": (SOUND, 8000)}])
    assert [answer.modalities for answer in found] == [("image",), ("image", "audio"), ("image", "audio")]
    with pytest.raises(RowsRefused, match="row 0, audio: no-sound"):
        lending.predict([{"audio": silent}])
    lending._predictor.close()


def compare_with_manifest(model: Model, manifest: Path) -> None:
    table = pd.read_csv(manifest)
    frame = model.predict(manifest)
    rows = [
        {"image": manifest.parent / image, "audio": manifest.parent / audio, "text": text}
        for image, audio, text in zip(table["image"], table["audio_path"], table["text"], strict=True)
    ]
    found = model.predict(rows)
    assert [answer.label for answer in found] == frame["predicted"].tolist()
    assert np.allclose(outputs(found), np.array(frame["probabilities"].tolist()), atol=1e-5)


@pytest.mark.parametrize(
    "data", [{"text": "a"}, ["a"], [None], None, 5, ({"text": "a"} for _ in "a"), pd.Series(["a"])]
)
def test_what_are_no_rows_is_refused(model: Model, data: Any) -> None:
    with pytest.raises(UsageError, match="give a list of rows, each a mapping of inputs to values"):
        model.predict(data)


@pytest.mark.parametrize("name", ["", "@champion", " ", None, 5, b"digits"])
def test_a_model_needs_a_name(name: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name one of the registry"):
        crossmodal.load(name, store=tmp_path / "store")
    with pytest.raises(UsageError, match="names no alias after the @"):
        crossmodal.load("digits@", store=tmp_path / "store")


@pytest.mark.parametrize("mode", ["CMYK", "HSV", "LA", "1"])
def test_pictures_in_memory_may_have_any_mode_that_is_a_picture(model: Model, mode: str) -> None:
    assert model.predict([{"image": Image.fromarray(PIXELS).convert(mode)}])[0].modalities == ("image",)


@pytest.mark.parametrize(
    ("sound", "advice"),
    [((np.zeros((2, 8000), np.float32), 8000), "transpose it"), ((SOUND, 10**12), "give a whole number of Hz")],
)
def test_a_sound_of_another_shape_or_rate_is_refused_with_advice(model: Model, sound: Any, advice: str) -> None:
    with pytest.raises(RowsRefused, match=advice):
        model.predict([{"audio": sound}])


def test_what_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder with model\.json and model\.safetensors in it"):
        crossmodal.load(tmp_path, store=tmp_path / "store")
    with pytest.raises(UsageError, match="model nobody@champion: not in the registry"):
        crossmodal.load("nobody", store=tmp_path / "store")
