"""Pictures and texts, copies of them that differ a little, and the clusters that ingest finds."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tasks.store import Store
from tests.support.data import write_manifest

STORY = "the quick brown fox jumps over the lazy dog while the old cat sleeps on the warm red roof of the mill"


def photograph(number: int, side: int = 128) -> Image.Image:
    """A picture of smooth shapes that no other number gives."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def recompressed(picture: Image.Image, quality: int = 40) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def write_pairs(folder: Path, rows: int, change: Callable[[dict[str, Any], int], dict[str, Any]]) -> Path:
    """Row n is a photograph with its own story; the picture of an odd row is a recompressed copy of the row before."""
    folder.mkdir(parents=True, exist_ok=True)
    table = []
    for number in range(rows):
        picture = photograph(number) if number % 2 == 0 else recompressed(photograph(number - 1))
        picture.save(folder / f"{number}.png")
        text = f"{STORY} {'again ' * (number % 2)}and {np.random.default_rng(number // 2).integers(10**9, 10**17, 9)}"
        table.append(
            change({"id": f"p{number}", "image": f"{number}.png", "text": text, "label": "ab"[number % 2]}, number)
        )
    return write_manifest(folder / "manifest.csv", table)


def clusters_of(store: Store, done: Any) -> dict[str, int]:
    table = pq.read_table(store.path(done.clean.uri) / "near_duplicates.parquet")
    return dict(zip(table["id"].to_pylist(), table["cluster"].to_pylist(), strict=True))
