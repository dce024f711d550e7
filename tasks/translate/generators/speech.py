"""Text to speech by espeak-ng, where it is installed: a formant synthesiser, the same sound for the same text."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.translate.generators.base import Asked
from tasks.translate.generators.programs import run_program

PROGRAM = "espeak-ng"


class Speech:
    """espeak-ng with one voice; a text is read from its standard input, so that nothing of it is an option."""

    batch_rows = 32

    def __init__(self, asked: Asked) -> None:
        self.voice = asked.voice

    def prepare(self, medium: Any, rate_hz: int) -> bytes:
        """The text, as UTF-8."""
        return str(medium).encode()

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """A WAV of each text."""
        with tempfile.TemporaryDirectory() as folder:
            return [self._speak(text, Path(folder) / "speech.wav") for text in prepared]

    def _speak(self, text: bytes, path: Path) -> bytes:
        path.unlink(missing_ok=True)
        arguments = ["-v", self.voice, "--stdin", "-w", str(path)]
        run_program(PROGRAM, arguments, text, hint="; is translate.voice one of its?")
        return path.read_bytes() if path.is_file() else b""
