"""The whole pipeline with training on a CUDA device (make test-gpu)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu


def test_a_retrain_on_the_device_learns_what_it_learns_on_the_cpu(
    learnable: Path, small_settings: list[str], tmp_path: Path
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    program = str(Path(sys.executable).parent / "crossmodal")
    accuracy = {}
    for device in ("auto", "cpu"):
        store = ["--store", str(tmp_path / device), "--set", f"train.device={device}"]
        command = [program, "retrain", "--plain", "--json", "--data", str(learnable), *small_settings, *store]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        accuracy[device] = json.loads(done.stdout.splitlines()[-1])["metrics"]["test"]["accuracy"]
    assert accuracy["auto"] == pytest.approx(accuracy["cpu"], abs=0.1)
