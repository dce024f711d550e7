"""Words in pictures by Tesseract: painted words are read, and what is not there is refused before any work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tasks.config import load_config
from tasks.config_translate import TranslateConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.translate.generators.base import Asked
from tasks.translate.generators.choose import asked_of, identity_of, load_generator, require_generator

reads = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="tesseract is not installed (Debian: apt-get install tesseract-ocr)"
)


def asked_for(**settings: Any) -> TranslateConfig:
    return load_config(
        {"translate": {"source": "image", "target": "text", "generator": "tesseract", **settings}}
    ).translate


def paint_words(text: str) -> np.ndarray:
    page = Image.new("RGB", (420, 120), "white")
    ImageDraw.Draw(page).text((20, 14), text, "black", ImageFont.load_default(28))
    return np.asarray(page)


@reads
def test_painted_words_are_read_and_an_empty_picture_has_none() -> None:
    config = asked_for()
    ocr = load_generator("tesseract", asked_of(config, require_generator(config)))
    pages = [paint_words("The quick brown fox\njumps over it"), paint_words("seven zero"), paint_words("")]
    found = ocr.generate([ocr.prepare(page, 0) for page in pages])
    assert found == [b"The quick brown fox jumps over it", b"seven zero", b""]
    assert ocr.generate([ocr.prepare(page, 0) for page in pages]) == found


@reads
def test_its_version_its_language_and_its_settings_are_its_fingerprint() -> None:
    first = identity_of(asked_for())
    assert first["program"][0].isdigit()
    assert len(first["weights"]) == 1
    assert "/" not in str(first)
    assert first != identity_of(asked_for(psm=7))
    assert first == identity_of(asked_for(top_k=9))


@reads
def test_a_language_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(
        EnvironmentFailed, match=r"translate\.lang xyz_abc: .*eng.*\(apt-get install tesseract-ocr-xyz-abc\)"
    ):
        require_generator(asked_for(lang="eng+xyz_abc"))


def test_a_program_that_is_not_there_or_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        EnvironmentFailed, match=r"tesseract: the program is not on this machine \(apt-get install tess"
    ):
        require_generator(asked_for())
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\necho 'read_params_file: no\nsuch thing' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(EnvironmentFailed, match=r"tesseract: exit 1 \(read_params_file: no such thing\)"):
        load_generator("tesseract", Asked(lang="eng", psm=3)).generate([b"png"])


@pytest.mark.parametrize("setting", ["lang=--help", "lang=eng+", "lang=../eng", "psm=0", "psm=99"])
def test_settings_are_never_options_nor_paths(setting: str) -> None:
    with pytest.raises(UsageError, match=setting.partition("=")[0]):
        load_config({}, [f"translate.{setting}"])
