"""Fixtures that every part of the tests may use: a store, a config of small things, tiny data, and the shared data."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tasks.config import RunConfig, load_config
from tasks.store import Store
from tests.support.data import (
    SMALL,
    TINY,
    MakeData,
    clip_bytes,
    paint,
    write_learnable,
    write_manifest,
    write_picture,
    write_sound,
)
from tests.support.pretrained import write_bert

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Garbage is looked for in what the tests leave, not in what is imported.

    A million objects stay until the process ends; going through them again and again took a tenth of all CPU time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)  # what is imported later would be gone through as often
        gc.enable()


def pytest_unconfigure() -> None:
    """Python's last collection finds all again: libraries built with nanobind print what it does not set free."""
    gc.unfreeze()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fresh_store = Store(tmp_path / "store")
    fresh_store.prepare()
    return fresh_store


@pytest.fixture
def config() -> RunConfig:
    return load_config({}, [*TINY, "runtime.workers=1", "media.timeout_s=600"])


@pytest.fixture
def interruptible() -> Callable[[Sequence[str]], list[str]]:
    """interruptible(command) is a command that Ctrl-C ends, also where whoever started the tests ignores it (`nohup … &`).

    A process that is born with SIGINT ignored keeps it so, and Python then installs no handler.
    """

    def make(command: Sequence[str]) -> list[str]:
        reset = (
            "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
        )
        return [sys.executable, "-c", reset, *command]

    return make


@pytest.fixture
def make_clip() -> Callable[..., bytes]:
    """make_clip(frames, ...) -> the bytes of a video; make_clip(5, ...) -> of 5 plain frames, each 8 levels brighter."""

    def make(frames: list[np.ndarray] | int, **options: Any) -> bytes:
        if isinstance(frames, int):
            frames = [np.full((48, 64, 3), 8 * number, np.uint8) for number in range(frames)]
        return clip_bytes(frames, **options)

    return make


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """make_data(rows=12, labels=("a", "b")) writes data/manifest.csv with PNGs, WAVs and texts, and returns its path.

    Row n has id `s<n>`, image `img/<n>.png`, audio `snd/<n>.wav`, its own text, and the labels in turn. `change(row, n)`
    may alter a row, or return None to leave it out.
    """

    def make(
        rows: int = 12,
        labels: tuple[str, ...] = ("a", "b"),
        change: Callable[[dict[str, Any], int], dict[str, Any] | None] = lambda row, number: row,
        folder: str = "data",
    ) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        table = []
        for number in range(rows):
            write_picture(root / f"img/{number}.png", number)
            write_sound(root / f"snd/{number}.wav", number)
            row = {
                "id": f"s{number}",
                "image": f"img/{number}.png",
                "audio_path": f"snd/{number}.wav",
                "text": f"words of {number}",
                "label": labels[number % len(labels)],
            }
            changed = change(row, number)
            if changed is not None:
                table.append(changed)
        return write_manifest(root / "manifest.csv", table)

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The sample data beside the repository; the test is skipped where they are absent."""
    folder = (Path(__file__).resolve().parents[2] / "shared" / "data").resolve()  # it may be a link
    if not folder.is_dir():
        pytest.skip("needs ../shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def make_learnable() -> Callable[[Path], Path]:
    """make_learnable(folder) writes the learnable data into a folder and returns the manifest."""
    return write_learnable


@pytest.fixture
def learnable(tmp_path: Path) -> Path:
    return write_learnable(tmp_path / "learnable")


@pytest.fixture
def small_settings() -> list[str]:
    """Flags that make a retrain of the learnable data a matter of seconds."""
    return [part for value in SMALL for part in ("--set", value)]


@pytest.fixture
def repaint() -> Callable[[Path], None]:
    """Replaces a picture of the class "low" by another of that class."""
    return lambda path: paint(path, 0, np.random.default_rng(99))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder with a BERT of two layers, random, in half precision, and a tokenizer of thirteen words."""
    return write_bert(tmp_path / "bert")


@pytest.fixture
def squeezenet(tmp_path: Path) -> Path:
    """Random weights of torchvision's squeezenet1_1, as a file."""
    import torch
    import torchvision
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path / "squeezenet1_1.safetensors"
    save_file(torchvision.models.get_model("squeezenet1_1").state_dict(), path)
    return path
