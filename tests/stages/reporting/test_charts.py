"""What the report draws, by value."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_contracts.eval_detail import CalibrationBin
from data_contracts.training_history import Epoch
from tasks.media.thumbnails import SOUND_WIDTH_PX, SPECTRUM_PX, THUMBNAIL_PX, WAVE_PX, draw_image, draw_sound
from tasks.reporting.charts import calibration_chart, curve_chart, nice_ticks, path_of
from tasks.reporting.confusion_matrix import confusion_chart
from tasks.reporting.training_curves import training_stages


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (0.31, 2.3, [0, 0.5, 1, 1.5, 2, 2.5]), (0.5, 0.5, [0.5, 0.625])],
)
def test_ticks_are_round_and_enclose(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    if low != high:
        assert found == pytest.approx(ticks)


def test_a_curve_leaves_out_what_is_not_a_number() -> None:
    epochs = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": float("nan")}, {"epoch": 3, "loss": 1.0, "other": None}]
    chart = curve_chart(epochs, [("loss", "loss", "blue"), ("other", "other", "green")])
    assert chart is not None
    assert [line["name"] for line in chart["lines"]] == ["loss"]
    assert len(chart["lines"][0]["points"]) == 2
    assert curve_chart(epochs, [("absent", "absent", "blue")]) is None
    assert path_of([(1, 2), (3, 4)]) == "M1.0 2.0 L3.0 4.0"


def test_confusion_keeps_the_worst_of_many_classes() -> None:
    labels = [f"c{i}" for i in range(50)]
    cells = [(i, i, 10) for i in range(50)] + [(40, 41, 7), (41, 40, 2), (3, 4, 1)]
    chart = confusion_chart(labels, cells)
    assert len(chart["labels"]) == 20
    assert {"c3", "c4", "c40", "c41"} <= set(chart["labels"])
    assert chart["left_out"] == 30
    assert chart["mistakes_left_out"] == 0
    assert chart["pairs"][0] == {"true": "c40", "predicted": "c41", "rows": 7, "share": pytest.approx(7 / 17)}
    row = chart["matrix"][chart["labels"].index("c40")]
    assert row[chart["labels"].index("c41")]["rows"] == 7


def test_calibration_draws_only_bins_with_rows() -> None:
    empty = CalibrationBin(low=0.0, high=0.5, count=0, confidence=None, accuracy=None)
    full = CalibrationBin(low=0.5, high=1.0, count=4, confidence=0.75, accuracy=0.5)
    (bar,) = calibration_chart([empty, full])["bars"]
    assert bar["height"] == pytest.approx(2 * bar["gap"])
    assert bar["y"] == pytest.approx(bar["low_y"])
    assert calibration_chart([empty])["bars"] == []


def opened(uri: str) -> Any:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 500, 3), (300, 200, 3), (65, 64, 3)])
def test_thumbnails_fit(shape: tuple[int, ...]) -> None:
    assert max(opened(draw_image(np.zeros(shape, dtype=np.uint8))).size) <= THUMBNAIL_PX


def test_a_high_tone_lies_above_a_low_one() -> None:
    rows = []
    for hz in (500, 6000):
        sound = (np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000) * 20_000).astype(np.int16)
        picture = np.asarray(opened(draw_sound(sound, 16_000)))
        assert picture.shape == (WAVE_PX + SPECTRUM_PX, SOUND_WIDTH_PX, 3)
        rows.append(int(picture[WAVE_PX:, 100, 0].argmax()))
    assert rows[1] < rows[0]


@pytest.mark.parametrize("length", [0, 1, 150, 90_000])
def test_any_length_of_sound_is_drawn(length: int) -> None:
    assert opened(draw_sound(np.zeros(length, dtype=np.int16), 8_000)).size == (SOUND_WIDTH_PX, WAVE_PX + SPECTRUM_PX)


@pytest.mark.parametrize(
    ("reached", "message"),
    [
        ({"val_accuracy": 0.5}, ("Its accuracy", "share", 0.5)),
        ({"val_mae": 4e-5}, ("Its mean absolute error", "number", 4e-5)),
        ({}, None),
    ],
)
def test_a_stage_is_told_by_what_its_problem_has(reached: dict[str, float], message: Any) -> None:
    epochs = [Epoch(epoch=1, stage="head", train_loss=1.0, val_loss=1.0, seconds=1.0, **reached)]
    assert training_stages(epochs)[0]["reached"] == message
