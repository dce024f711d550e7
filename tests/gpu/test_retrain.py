"""The whole pipeline with training on a CUDA device (make test-gpu)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.data import TINY

pytestmark = pytest.mark.gpu
SETTINGS = (*TINY, "train.epochs=8", "train.threads=2", "media.timeout_s=600")


def retrain(data: Path, store: Path, *settings: str) -> tuple[float, list[dict[str, Any]], dict[str, Any]]:
    """Accuracy on the test rows, the history of the epochs, and the figures of a run of the program."""
    program = str(Path(sys.executable).parent / "crossmodal")
    changes = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    command = [program, "retrain", "--plain", "--json", "--data", str(data), "--store", str(store), *changes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = json.loads(done.stdout.splitlines()[-1])["metrics"]["test"]["accuracy"]
    (path,) = store.glob("checkpoints/*/history.json")
    history = json.loads(path.read_text())
    return accuracy, history["epochs"], history["figures"]


def test_a_retrain_on_the_device_learns_what_it_learns_on_the_cpu(noisy: Path, tmp_path: Path) -> None:
    """On rows that mislead. The draws are the same but for dropout, so what differs is bf16 and the order of sums."""
    here, epochs, figures = retrain(noisy, tmp_path / "device")
    there, expected, _ = retrain(noisy, tmp_path / "cpu", "train.device=cpu")
    assert figures["device"] != "cpu"
    assert figures["gpu_s"] > 0
    assert 0.6 < there < 0.98  # neither chance (0.25) nor so easy that nothing is compared
    # Two models of one accuracy differ on 300 rows by a deviation of 2 to 3 points; the bound is three of them.
    assert here == pytest.approx(there, abs=0.08)
    losses, others = (np.array([entry["val_loss"] for entry in found]) for found in (epochs, expected))
    assert len(losses) == len(others)
    np.testing.assert_allclose(losses[-3:], others[-3:], rtol=0.1)


def test_extraction_on_the_device_gives_what_it_gives_on_the_cpu(squeezenet: Path, noisy: Path, tmp_path: Path) -> None:
    import torch

    from data_contracts.refs import Modality
    from tasks.config import EncodersConfig
    from tasks.modeling.embed import embed
    from tasks.modeling.pretrained.describe import complete_encoder, identify_encoder

    kind: Modality = "image"
    encoder = f"torchvision:squeezenet1_1@{squeezenet}"
    spec = complete_encoder(kind, encoder, identify_encoder(kind, encoder, "head", EncodersConfig()))
    pictures = np.random.default_rng(0).integers(0, 256, (600, 64, 64, 3), dtype=np.uint8)  # more than two batches
    found = dict(embed(kind, spec, ((str(n), picture) for n, picture in enumerate(pictures))))
    from tasks.modeling.pretrained.weights import frozen_encoder

    network = frozen_encoder(kind, spec)
    assert next(iter(network.buffers())).device.type == "cpu"
    with torch.inference_mode():
        pixels = torch.from_numpy(pictures[:64]).movedim(-1, 1).float().div(255.0)
        expected = network(pixels, torch.full((64,), 64)).numpy()
    on_gpu = np.stack([found[str(n)] for n in range(64)])
    assert sorted(found, key=int) == [str(n) for n in range(600)]
    assert np.linalg.norm(on_gpu - expected) / np.linalg.norm(expected) < 2e-3  # TF32 at worst


def test_threads_that_look_through_a_fresh_encoder_at_once_find_the_same(squeezenet: Path) -> None:
    """Two threads that moved it to the device at the same time once left garbage in its weights."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from tasks.config import EncodersConfig
    from tasks.modeling.embed import embed
    from tasks.modeling.pretrained import weights
    from tasks.modeling.pretrained.describe import complete_encoder, identify_encoder

    encoder = f"torchvision:squeezenet1_1@{squeezenet}"
    spec = complete_encoder("image", encoder, identify_encoder("image", encoder, "head", EncodersConfig()))
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)

    def vectors(_: int) -> np.ndarray:
        return np.stack([vector for _, vector in embed("image", spec, list(zip("abcdefgh", pictures, strict=True)))])

    expected = vectors(0)
    for _ in range(20):
        weights._frozen.clear()
        torch.cuda.synchronize()
        with ThreadPoolExecutor(8) as threads:
            for found in threads.map(vectors, range(8)):
                np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())
