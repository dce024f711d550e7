"""Pictures of media for the report."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tasks.evaluate.pictures import draw_clip


def _picture(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@pytest.mark.parametrize(
    ("frames", "shape", "levels"),
    [
        (1, (36, 72), [0]),
        (2, (36, 146), [0, 10]),
        (3, (74, 146), [0, 10, 20, 255]),
        (8, (74, 146), [0, 20, 50, 70]),
    ],
)
def test_a_filmstrip_shows_frames_in_order(frames: int, shape: tuple[int, int], levels: list[int]) -> None:
    clip = np.stack([np.full((20, 40, 3), 10 * number, np.uint8) for number in range(frames)])
    picture = _picture(draw_clip(clip))
    assert picture.shape[:2] == shape
    centres = [(row, column) for row in (18, 56) for column in (36, 110)]
    found = [int(picture[place][0]) for place in centres if place[0] < shape[0] and place[1] < shape[1]]
    assert found == levels
