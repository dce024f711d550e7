"""What MLflow's interface reads of a data frame, by value: as crossmodal.load does, and refused with row and input."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crossmodal
from crossmodal import Model, RowsRefused
from flows.serving.mlflow_model import MediaModel
from tasks.errors import CrossmodalError, DataError, UsageError
from tests.support.data import write_picture
from tests.support.folder_models import list_verified, write_model

TYPES = {"image": "uint8", "text": "uint8", "audio": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads at most 12 characters of a text."""
    folder = write_model(tmp_path_factory.mktemp("models") / "small", media={"max_text_chars": 12})
    card = json.loads((folder / "model.json").read_text())
    card["features"] = {name: {"fingerprint": "0" * 64, "dtype": dtype} for name, dtype in TYPES.items()}
    (folder / "model.json").write_text(json.dumps(card))
    list_verified(folder)
    write_picture(folder.parent / "p.png", 3)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[MediaModel]:
    model = MediaModel()
    model.load_context(SimpleNamespace(artifacts={"model.safetensors": str(folder / "model.safetensors")}))
    yield model
    model._predictor().close()


@pytest.fixture(scope="module")
def direct(folder: Path) -> Iterator[Model]:
    model = crossmodal.load(folder, store=folder.parent / "store")
    yield model
    model._predictor.close()


@pytest.fixture
def picture(folder: Path) -> bytes:
    return (folder.parent / "p.png").read_bytes()


def outputs(direct: Model, rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([list(answer.probabilities.values()) for answer in direct.predict(rows)])


def refusals(model: Any, *data: Any) -> list[tuple[int, str | None, str, str]]:
    with pytest.raises(RowsRefused) as refused:
        model.predict(*data)
    return [(each.row, each.input, each.reason, each.detail) for each in refused.value.refusals]


def test_a_text_is_read_as_ingest_reads_it(served: MediaModel, direct: Model) -> None:
    texts = ["twelvelettersandmore", "\ufeffa mark", "two  spaces", "Cafe\u0301", "  around  "]
    found = served.predict(None, pd.DataFrame({"text": texts}))
    assert np.allclose(found, outputs(direct, [{"text": text} for text in texts]), atol=1e-6)
    cut = served.predict(None, pd.DataFrame({"text": [texts[0][:12], "a mark", "two  spaces", "Caf\u00e9", "around"]}))
    assert np.allclose(found, cut, atol=1e-6)


def test_rows_are_refused_as_crossmodal_refuses_them(served: MediaModel, direct: Model) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "good", "image": None},
        {"text": "   ", "image": None},
        {"text": "fo\0ur", "image": None},
        {"text": None, "image": None},
        {"text": "", "image": float("nan")},
        {"text": "a\ud800", "image": None},
        {"text": "good", "image": 5.0},
        {"text": "good", "image": np.zeros((4, 4), np.float32)},
        {"text": "good", "image": b"no picture"},
    ]
    found = refusals(served, None, pd.DataFrame(rows, dtype=object))
    assert found == refusals(direct, rows)
    assert [(row, name, reason) for row, name, reason, _ in found] == [
        (1, "text", "empty-text"),
        (2, "text", "unreadable-text"),
        (3, None, "no-modality"),
        (4, None, "no-modality"),
        (5, "text", "unreadable-text"),
        (6, "image", "bad-value"),
        (7, "image", "bad-value"),
        (8, "image", "unreadable-image"),
    ]


def test_what_pandas_has_for_nothing_is_missing(served: MediaModel, direct: Model, picture: bytes) -> None:
    frame = pd.DataFrame(
        {
            "image": [pd.NA, picture, picture, None, pd.NaT],
            "text": pd.array(["a", None, "b", "c", "d"], "string"),
            "audio": ["", None, float("nan"), pd.NaT, pd.NA],
        },
        index=[7, 5, 6, 1, 0],
    )
    rows = [{"text": "a"}, {"image": picture}, {"image": picture, "text": "b"}, {"text": "c"}, {"text": "d"}]
    found = served.predict(None, frame)
    assert found.index.tolist() == direct.predict(frame).index.tolist() == [7, 5, 6, 1, 0]
    assert np.allclose(found, outputs(direct, rows), atol=1e-6)
    assert direct.predict(frame)["modalities"].tolist() == ["text", "image", "image+text", "text", "text"]
    one = served.predict(None, pd.DataFrame({"text": ["", "a"], "image": [picture, None]}))
    assert np.allclose(one, outputs(direct, [{"image": picture}, {"text": "a"}]), atol=1e-6)


def test_base64_of_any_length_is_no_path(
    served: MediaModel, folder: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = picture + b"\0" * 6000  # decoders stop at the end of the picture
    frame = pd.DataFrame({"image": [base64.b64encode(data).decode() for data in (picture, grown)]})
    frame.loc[2] = f"data:image/png;base64,{frame['image'][1]}"
    found = served.predict(None, frame)
    assert np.allclose(found, found.iloc[0], atol=1e-6)
    path = str(folder.parent / "p.png")
    assert np.allclose(served.predict(None, pd.DataFrame({"image": [path]})), found.iloc[0], atol=1e-6)
    bad = pd.DataFrame({"image": ["A" * 255, "A" * 256, "data:,no base64!", "\0"]})
    assert [(row, reason) for row, _, reason, _ in refusals(served, None, bad)] == [
        (0, "bad-value"),
        (1, "unreadable-image"),
        (2, "bad-value"),
        (3, "bad-value"),
    ]
    monkeypatch.setenv("__pyfunc_model_path__", "as in mlflow models serve")
    ((*_, detail),) = refusals(served, None, pd.DataFrame({"image": [path]}))
    assert "names no file of the server" in detail
    assert len(served.predict(None, pd.DataFrame({"text": [path]}))) == 1, "a text is itself"


def test_a_picture_in_memory_is_one_and_what_the_network_reads_is_taken(
    served: MediaModel, direct: Model, picture: bytes
) -> None:
    grey, wide = np.arange(600, dtype=np.uint8).reshape(20, 30), np.full((40, 20, 3), 60, np.uint8)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    frame = pd.DataFrame({"image": [grey, wide, pixels, pixels.tolist(), pixels.tolist()], "text": [None] * 4 + ["a"]})
    rows = [{"image": each} for each in (grey, wide, pixels, pixels)] + [{"image": pixels, "text": "a"}]
    assert np.allclose(served.predict(None, frame), outputs(direct, rows), atol=1e-6)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            {"image": [None, [[1, 2, 3]]], "text": ["a", None]},
            DataError,
            "row 1, image: has the shape 1x3; the network",
        ),
        ({"image": [[[1, 2], [3]]]}, DataError, "row 0, image: is a list of lists of several lengths"),
        ({"text": [["a"]]}, DataError, "row 0, text: is no list of numbers; the network reads uint8 of the shape 1.."),
        ({"text": [[97, 300]]}, DataError, "row 0, text: holds numbers that are no uint8"),
        ({"text": [[]]}, DataError, "row 0, text: has the shape 0;"),
        ({"audio": [[[float("nan")] * 64]]}, DataError, "row 0, audio: holds numbers that are no float32"),
        (
            {"price": [1]},
            UsageError,
            "no column of the data frame is an input of the model; it reads image, text, audio",
        ),
        ({}, UsageError, "it reads image, text, audio"),
    ],
)
def test_what_cannot_be_read_is_named(
    served: MediaModel, data: dict[str, Any], error: type[CrossmodalError], message: str
) -> None:
    with pytest.raises(error) as caught:
        served.predict(None, pd.DataFrame(data))
    assert message in str(caught.value)


def test_what_is_no_data_frame_is_refused(served: MediaModel) -> None:
    with pytest.raises(UsageError, match="cannot read a value of type dict; give a data frame"):
        served.predict(None, {"text": ["a"]})
