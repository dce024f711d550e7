"""JPEGs to the canonical form, against the decoders of `datasets` and torchvision with the same scaling after them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import simplejpeg
import torch
from datasets import Image as DatasetsImage  # type: ignore[import-untyped]
from PIL import Image
from torchvision.io import decode_image as torchvision_decode
from torchvision.transforms.v2 import functional

from benchmarks.extraction.timing import Row, in_turns
from tasks.config import load_config
from tasks.media.image import decode_image

LONG, SHORT = 500, 375


def make_jpegs(rows: int) -> list[bytes]:
    """Smooth patches with grain, 4:2:0 at quality 90: some 70 kB each, as photographs have; no two alike."""
    rng = np.random.default_rng(0)
    return [_jpeg(rng) for _ in range(rows)]


def _jpeg(rng: np.random.Generator) -> bytes:
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    smooth = np.asarray(coarse.resize((LONG, SHORT), Image.Resampling.BICUBIC), np.float32)
    grainy = (smooth + rng.normal(0, 6, (SHORT, LONG, 1))).clip(0, 255).astype(np.uint8)
    found: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(grainy), quality=90, colorsubsampling="420")
    return found


def measure(rows: int, rounds: int) -> Iterator[Row]:
    """Three rows."""
    files = make_jpegs(rows)
    limits = load_config({}).media.model_dump()
    side = int(limits["image_px"])
    size = (side, round(SHORT * side / LONG))
    tensors = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    feature = DatasetsImage()

    def opened(file: bytes) -> Image.Image:
        """As `datasets` decodes it."""
        found: Image.Image = feature.decode_example({"bytes": file, "path": None})
        return found.convert("RGB")

    def by_torchvision(data: torch.Tensor) -> torch.Tensor:
        """(3, H, W)"""
        found: torch.Tensor = functional.resize(
            torchvision_decode(data, mode="RGB"), [size[1], size[0]], antialias=True
        )
        return found

    ours = "ours"
    costs = in_turns(
        {
            ours: lambda: [decode_image(file, limits) for file in files],
            "`datasets`, not scaled": lambda: [np.asarray(opened(file)) for file in files],
            "`datasets`, scaled by Pillow": lambda: [
                np.asarray(opened(file).resize(size, Image.Resampling.BILINEAR)) for file in files
            ],
            "torchvision, decoded and scaled": lambda: [by_torchvision(data) for data in tensors],
        },
        rounds,
    )
    for peer, cost in costs.items():
        if peer != ours:
            yield Row(f"JPEG of {LONG} px to its canonical form of {side} px", peer, costs[ours], cost, rows, 1.5)
