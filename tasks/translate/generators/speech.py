"""Text to speech by espeak-ng, where it is installed: a formant synthesiser, the same sound for the same text."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import EnvironmentFailed
from tasks.isolation.process import bare_environment
from tasks.translate.generators.base import Asked

PROGRAM = "espeak-ng"
TIMEOUT_S = 60.0
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")


def program_version() -> str | None:
    """Of the espeak-ng on this machine; None where there is none."""
    found = shutil.which(PROGRAM)
    if found is None:
        return None
    try:
        said = subprocess.run([found, "--version"], capture_output=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentFailed(f"{PROGRAM}: {found} does not answer ({error})") from None
    version = _VERSION.search(said.stdout.decode("utf-8", "replace"))
    return version.group() if version else "unknown"


class Speech:
    """espeak-ng with one voice; a text is read from its standard input, so that nothing of it is an option."""

    batch_rows = 32

    def __init__(self, asked: Asked) -> None:
        found = shutil.which(PROGRAM)
        if found is None:
            raise EnvironmentFailed(f"{PROGRAM} is not installed on this machine")
        self.command = (found, "-v", asked.voice, "--stdin", "-w")

    def prepare(self, medium: Any, rate_hz: int) -> bytes:
        """The text, as UTF-8."""
        return str(medium).encode()

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """A WAV of each text."""
        with tempfile.TemporaryDirectory() as folder:
            return [self._speak(text, Path(folder) / "speech.wav") for text in prepared]

    def _speak(self, text: bytes, path: Path) -> bytes:
        path.unlink(missing_ok=True)
        try:
            subprocess.run(
                [*self.command, str(path)],
                input=text,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=True,
                env=bare_environment(),
            )
        except subprocess.CalledProcessError as error:
            said = " ".join(error.stderr.decode("utf-8", "replace").split())[:200]
            raise EnvironmentFailed(
                f"{PROGRAM}: exit {error.returncode} ({said}); is translate.voice one of its?"
            ) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvironmentFailed(f"{PROGRAM}: {error}") from None
        return path.read_bytes() if path.is_file() else b""
