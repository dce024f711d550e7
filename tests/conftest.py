"""Fixtures that every part of the tests may use: a store, a config of small things, tiny data, and the shared data."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings
from PIL import Image

from tasks.config import RunConfig, load_config
from tasks.store import Store

MakeData = Callable[..., Path]
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


@pytest.fixture
def config() -> RunConfig:
    return load_config({}, ["runtime.workers=1", "media.timeout_s=600"])


def write_picture(path: Path, number: int, side: int = 16) -> None:
    """A PNG that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_sound(path: Path, number: int, rate_hz: int = 8000) -> None:
    """A WAV of 0.1 s that no other number gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(rate_hz // 10) / rate_hz
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 7 * number) * time_s), rate_hz)


def clip_bytes(
    frames: list[np.ndarray],
    rate: int = 25,
    sound_s: float = 0.0,
    kind: str = "mp4",
    turn: int = 0,
    codec: str = "mpeg4",
) -> bytes:
    """A video of RGB frames (H, W, 3) with even sides, with a tone of `sound_s` seconds where that is not 0."""
    import io

    import av

    sink = io.BytesIO()
    with av.open(sink, "w", format=kind) as out:
        video = out.add_stream(codec, rate=rate, options={"qmin": "1", "qmax": "2"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.gop_size = "yuv420p", 5
        if turn:
            video.set_display_rotation(turn)
        sound = out.add_stream("aac", rate=16_000, layout="mono") if sound_s else None
        for frame in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(video.encode())
        if sound is not None:
            tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(16_000 * sound_s), dtype=np.float32) / 16_000)
            block = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate = 16_000
            out.mux(sound.encode(block))
            out.mux(sound.encode())
    return sink.getvalue()


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


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


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


TONES = ("low", "high")
SMALL = [
    "train.epochs=4",
    "train.batch_size=16",
    "train.threads=1",
    "train.learning_rate=0.003",
    "runtime.workers=1",
    "media.timeout_s=600",
]


def write_learnable(folder: Path, rows: int = 120) -> Path:
    """A manifest whose label shows in the picture's colour, the sound's pitch and the words; 20 test rows."""
    rng = np.random.default_rng(0)
    for place in ("img", "snd"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "audio", "text", "label", "split"])
        for number in range(rows):
            kind = number % 2
            paint(folder / f"img/{number}.png", kind, rng)
            time_s = np.arange(1600) / 8000
            tone = 0.4 * np.sin(2 * np.pi * (400 + 1200 * kind + rng.uniform(-50, 50)) * time_s) + rng.normal(
                0, 0.02, 1600
            )
            soundfile.write(folder / f"snd/{number}.wav", tone, 8000)
            split = "test" if number < 20 else "val" if number < 40 else "train"
            words = f"it is {TONES[kind]} number {number}"
            writer.writerow([f"s{number:03}", f"img/{number}.png", f"snd/{number}.wav", words, TONES[kind], split])
    return folder / "manifest.csv"


def paint(path: Path, kind: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 120, (24, 24, 3), dtype=np.uint8)
    pixels[..., 2 * kind] += 120
    Image.fromarray(pixels).save(path)


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
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "words", "of", "a", "b", "it", "is", "low", "high"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    folder = tmp_path / "bert"
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **small)).half().save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(folder)
    return folder


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
