"""AutoMM's virtual environment: made once from pinned requirements, reused when it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# AutoMM takes torch up to 2.13; setuptools until 80 still has the pkg_resources that it imports.
REQUIREMENTS = ("autogluon.multimodal==1.6.3", "torch==2.12.1", "torchvision==0.27.1", "setuptools<81")
IMPORT = "import autogluon.multimodal"


def make_environment(folder: Path | None) -> Path | str:
    """Its Python, or why there is none."""
    if folder is None:
        return "no --peer-env names the folder of its environment (several GB, some minutes)"
    python = folder.absolute() / "bin" / "python"  # not resolved: the link is what makes it the environment's
    if not python.exists() and (failure := _attempt([sys.executable, "-m", "venv", str(folder)])):
        return f"no environment in {folder}: {failure}"
    if not _attempt([str(python), "-c", IMPORT]):
        return python
    if failure := _attempt([str(python), "-m", "pip", "install", "--no-input", *REQUIREMENTS]):
        return f"pip install {' '.join(REQUIREMENTS)}: {failure}"
    if failure := _attempt([str(python), "-c", IMPORT]):
        return f"{IMPORT}: {failure}"
    return python


def _attempt(command: list[str]) -> str:
    """The last line of what a failing command says; empty where it succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"status {done.returncode}"
