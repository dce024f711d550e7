"""Benchmarks for machines that others have: that they run, and say when they cannot."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_finetune", *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_fine_tuning_on_a_gpu_runs_in_small_on_a_cpu():
    done = _run("--smoke")
    assert done.returncode == 0, done.stderr
    assert "no figure here means anything" in done.stdout
    for name in ("ViT-B/16", "BERT-base"):
        assert re.search(rf"{name} +ours +[\d.,]+ rows/s.*\n +HF +[\d.,]+ rows/s", done.stdout)


def test_without_a_gpu_it_says_so():
    done = _run()
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "gpu_finetune: torch sees no CUDA device here, so nothing was measured; --smoke runs it on a CPU"
    )
