"""Picture to text by Tesseract, where it is installed: the words that stand in a picture, the same each time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasks.errors import EnvironmentFailed
from tasks.translate.generators.base import Asked
from tasks.translate.generators.programs import run_program

PROGRAM = "tesseract"


class Ocr:
    """Tesseract with its languages and page segmentation mode; it gets pixels decoded here, no file of the data's."""

    batch_rows = 32

    def __init__(self, asked: Asked) -> None:
        self.options = ("-l", asked.lang, "--psm", str(asked.psm))

    def prepare(self, medium: Any, rate_hz: int) -> bytes:
        """uint8 (H, W, 3) as a PNG."""
        png = io.BytesIO()
        Image.fromarray(np.asarray(medium, np.uint8)).save(png, "PNG", compress_level=1)
        return png.getvalue()

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """The words of each picture on one line, as they are read; empty where it finds none."""
        return [b" ".join(run_program(PROGRAM, ["stdin", "stdout", *self.options], each).split()) for each in prepared]


def language_files(lang: str) -> tuple[Path, ...]:
    """What Tesseract on this machine knows of each language of `lang` (eng, or eng+deu).

    EnvironmentFailed with those that it has, where one is not there.
    """
    lines = run_program(PROGRAM, ["--list-langs"]).decode("utf-8", "replace").splitlines()
    folder = Path(lines[0].partition('"')[2].rpartition('"')[0]) if lines else Path()
    known = sorted(line.strip() for line in lines[1:] if line.strip())
    for each in lang.split("+"):
        if each not in known:
            raise EnvironmentFailed(
                f"translate.lang {each}: {PROGRAM} on this machine has {', '.join(known) or 'no languages'} "
                f"(apt-get install tesseract-ocr-{each.replace('_', '-')})"
            )
    return tuple(folder / f"{each}.traineddata" for each in lang.split("+"))
