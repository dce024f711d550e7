"""Pictures of media for the report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from jinja2 import Environment, FileSystemLoader
from PIL import Image

import tasks.reporting.thumbnails as pictures_module
from data_contracts.refs import Modality
from data_contracts.tables import media_schema
from tasks.media.media_store import media_kind
from tasks.media.thumbnails import draw_clip
from tasks.reporting.thumbnails import picture_media
from tasks.store import Store

FINGERPRINT = "f" * 64


def put_media(store: Store, kind: Modality, media: list[tuple[str, np.ndarray | str]]) -> None:
    """Stores canonical pictures or texts under these digests."""
    rows = [
        {
            "source": digest,
            "digest": digest,
            "shape": [len(medium)] if isinstance(medium, str) else list(medium.shape),
            "data": medium.encode() if isinstance(medium, str) else medium.tobytes(),
        }
        for digest, medium in media
    ]
    store.put_part(media_kind(kind, FINGERPRINT), "part", pa.Table.from_pylist(rows, schema=media_schema()))


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


def test_a_row_with_several_pictures_and_texts_shows_them_all(store: Store) -> None:
    pictures = [np.full((8, 8, 3), 80 * number, np.uint8) for number in range(3)]
    put_media(store, "image", [(f"i{number}", picture) for number, picture in enumerate(pictures)])
    put_media(store, "text", [("t0", "one"), ("t1", "two")])
    media = {"image": "i0", "image_2": "i1", "image_3": "i2", "text": "t0", "text_2": "t1"}
    fingerprints = dict.fromkeys(media, FINGERPRINT)
    (seen,) = picture_media([media], fingerprints, store)
    shown = [seen, seen["more"], seen["more"]["more"]]
    assert [int(_picture(one["image"])[0, 0, 0]) for one in shown] == [0, 80, 160]
    assert [one["text"] for one in shown] == ["one", "two", None]
    assert shown[-1]["more"] is None
    (plain,) = picture_media([{"image_2": "i1"}], fingerprints, store)
    assert (plain["text"], plain["more"]) == (None, None)
    page = Environment(loader=FileSystemLoader(Path(pictures_module.__file__).parent), autoescape=True).from_string(
        '{% from "media.html.j2" import media %}{{ media(seen, "<s1>") }}'
    )
    html = page.render(seen=seen)
    assert html.count("<img") == 3
    assert html.index("one") < html.index("two")
    assert "<s1>" not in html
